package conformance

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
)

// A GoSDK is one major of cloudflare-go: what the packages v6 and v7 hand in.
// Everything else is reflection, so that no method and no parameter is missed.
type GoSDK struct {
	Name string
	// Dial makes a client; its RealtimeKit service, and its Execute.
	Dial func(t Target, query map[string]string) (kit any, execute func(ctx context.Context, method, path string, body, answer any) error)
	// Refused unpacks the client's error; nil when it is none of its own.
	Refused func(error) *Refusal
}

// NewGo makes a Client of it.
func NewGo(sdk GoSDK) Client { return goClient{sdk} }

type goClient struct{ sdk GoSDK }

func (g goClient) Name() string { return g.sdk.Name }
func (g goClient) Go() bool     { return true }
func (g goClient) Close() error { return nil }

// Call implements Client.
func (g goClient) Call(ctx context.Context, t Target, c Call) (Answer, error) {
	kit, execute := g.sdk.Dial(t, c.Query)
	if method, path, plain := c.plain(t); plain {
		return g.plain(ctx, execute, method, path, c)
	}
	m := goMethod(kit, c.Method)
	if !m.IsValid() {
		return Answer{}, ErrNoMethod
	}
	var a Answer
	params := reflect.New(m.Type().In(m.Type().NumIn() - 2)).Elem()
	if err := a.fill(params, "", c.Params); err != nil {
		return a, fmt.Errorf("%s: %w", c.Method, err)
	}
	set(params.FieldByName("AccountID"), t.Account)
	args := []reflect.Value{reflect.ValueOf(ctx)}
	if m.Type().NumIn() > 3 {
		args = append(args, reflect.ValueOf(t.App))
	}
	for _, id := range c.IDs {
		args = append(args, reflect.ValueOf(id))
	}
	began := time.Now()
	out := m.Call(append(args, params))
	a.Took = time.Since(began)
	if err, _ := out[1].Interface().(error); err != nil {
		a.Refusal = g.refusal(err)
		return a, nil
	}
	a.Reading = Reading{}
	a.decode("", out[0])
	a.lift()
	raw := out[0].Elem().FieldByName("JSON").MethodByName("RawJSON").Call(nil)
	a.Raw = []byte(raw[0].String())
	return a, nil
}

// refusal is what the client's error says; one without an answer has status 0.
func (g goClient) refusal(err error) *Refusal {
	if r := g.sdk.Refused(err); r != nil {
		return r
	}
	return &Refusal{Message: err.Error()}
}

// plain reports the request that a Call without a method is.
func (c Call) plain(t Target) (method, path string, ok bool) {
	method, path, ok = strings.Cut(c.Method, " ")
	if ok && !strings.HasPrefix(path, "/") {
		path = strings.TrimSuffix("/accounts/"+t.Account+"/realtime/kit/"+t.App+"/"+path, "/")
	}
	return method, path, ok
}

func (g goClient) plain(ctx context.Context, execute func(context.Context, string, string, any, any) error, method, path string, c Call) (a Answer, err error) {
	var body any
	if c.Params != nil {
		body = c.Params
	}
	a.Plain = true
	var answer json.RawMessage
	began := time.Now()
	failed := execute(ctx, method, strings.TrimPrefix(path, "/"), body, &answer)
	a.Took = time.Since(began)
	if failed != nil {
		a.Refusal = g.refusal(failed)
		return a, nil
	}
	a.Raw = answer
	a.Reading, err = flatten(answer)
	a.lift()
	return a, err
}

// goMethod finds "Service.Method" of a RealtimeKit service.
func goMethod(kit any, name string) (m reflect.Value) {
	service, method, _ := strings.Cut(name, ".")
	if f := reflect.ValueOf(kit).Elem().FieldByName(service); f.IsValid() {
		return f.MethodByName(method)
	}
	return m
}

// fill puts parameters into a params struct, or into one of its objects.
func (a *Answer) fill(v reflect.Value, path string, params map[string]any) error {
	known := map[string]reflect.Value{}
	for i := range v.NumField() {
		if name := paramName(v.Type().Field(i)); name != "" {
			known[name] = v.Field(i)
		}
	}
	for name, value := range params {
		f, ok := known[name]
		if !ok {
			a.Undeclared = append(a.Undeclared, join(path, name))
			continue
		}
		f.FieldByName("Present").SetBool(true)
		if value == nil {
			f.FieldByName("Null").SetBool(true)
			continue
		}
		if err := a.assign(f.FieldByName("Value"), join(path, name), value); err != nil {
			return err
		}
	}
	slices.Sort(a.Undeclared)
	return nil
}

// paramName is the wire name of a params field; "" for what is part of the path.
func paramName(f reflect.StructField) string {
	for _, tag := range []string{"json", "query"} {
		if name, _, _ := strings.Cut(f.Tag.Get(tag), ","); name != "" && name != "-" {
			return name
		}
	}
	return ""
}

// set fills a param.Field with what cloudflare.F makes.
func set(f reflect.Value, value any) {
	f.FieldByName("Present").SetBool(true)
	f.FieldByName("Value").Set(reflect.ValueOf(value))
}

// assign converts a value to the type that the client declares.
func (a *Answer) assign(dst reflect.Value, path string, value any) error {
	at, isTime := value.(time.Time)
	switch object, isObject := value.(map[string]any); {
	case isTime && dst.Kind() == reflect.Int64:
		dst.SetInt(at.Unix())
		return nil
	case isTime && dst.Kind() == reflect.String:
		dst.SetString(at.UTC().Format(time.RFC3339))
		return nil
	case isObject && dst.Kind() == reflect.Struct:
		return a.fill(dst, path, object)
	}
	v := reflect.ValueOf(value)
	if v.Kind() == reflect.Slice && dst.Kind() == reflect.Slice {
		dst.Set(reflect.MakeSlice(dst.Type(), v.Len(), v.Len()))
		for i := range v.Len() {
			if err := a.assign(dst.Index(i), path, v.Index(i).Interface()); err != nil {
				return err
			}
		}
		return nil
	}
	if !v.CanConvert(dst.Type()) || v.Kind() == reflect.String != (dst.Kind() == reflect.String) {
		return fmt.Errorf("%s: a %s does not fit the client's %s", path, v.Type(), dst.Type())
	}
	dst.Set(v.Convert(dst.Type()))
	return nil
}

// Methods implements Client.
func (g goClient) Methods() (all []Method, err error) {
	kit, _ := g.sdk.Dial(Target{Base: "http://localhost/", Token: "none"}, nil)
	services := reflect.ValueOf(kit).Elem()
	for i := range services.NumField() {
		if services.Field(i).Kind() != reflect.Pointer {
			continue
		}
		service := services.Field(i)
		for j := range service.NumMethod() {
			name := services.Type().Field(i).Name + "." + service.Type().Method(j).Name
			call := service.Method(j).Type()
			all = append(all, Method{name, declaredParams(call.In(call.NumIn()-2), "")})
		}
	}
	return all, nil
}

// Probe implements Client.
func (g goClient) Probe(ctx context.Context, t Target, method string) error {
	kit, _ := g.sdk.Dial(t, nil)
	m := goMethod(kit, method)
	if !m.IsValid() {
		return ErrNoMethod
	}
	params := reflect.New(m.Type().In(m.Type().NumIn() - 2)).Elem()
	args := []reflect.Value{reflect.ValueOf(ctx)}
	for range m.Type().NumIn() - 3 {
		args = append(args, reflect.ValueOf("ID"))
	}
	if len(args) > 1 {
		args[1] = reflect.ValueOf(t.App)
	}
	for i := range params.NumField() {
		if name := params.Type().Field(i).Tag.Get("path"); name == "account_id" {
			set(params.Field(i), t.Account)
		} else if name != "" {
			set(params.Field(i), "ID")
		}
	}
	m.Call(append(args, params))
	return nil
}

// declaredParams lists the leaves of a params struct.
func declaredParams(t reflect.Type, path string) (leaves []string) {
	for i := range t.NumField() {
		name := paramName(t.Field(i))
		if name == "" {
			continue
		}
		value, _ := t.Field(i).Type.FieldByName("Value")
		if value.Type.Kind() == reflect.Struct && value.Type != reflect.TypeFor[time.Time]() {
			leaves = append(leaves, declaredParams(value.Type, join(path, name))...)
		} else {
			leaves = append(leaves, join(path, name))
		}
	}
	slices.Sort(leaves)
	return leaves
}
