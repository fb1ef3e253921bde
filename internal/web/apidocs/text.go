package apidocs

import (
	"bytes"
	"encoding/json"
	"html/template"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v3"
)

// prose is a description as HTML: paragraphs, lists of lines that begin with
// "- ", and `code`.
func prose(s string) template.HTML {
	var b strings.Builder
	for _, block := range strings.Split(strings.TrimSpace(s), "\n\n") {
		block = strings.TrimSpace(block)
		switch {
		case block == "":
		case strings.HasPrefix(block, "- "):
			b.WriteString("<ul>")
			for _, item := range strings.Split("\n"+block, "\n- ")[1:] {
				b.WriteString("<li>" + inline(item) + "</li>")
			}
			b.WriteString("</ul>")
		default:
			b.WriteString("<p>" + inline(block) + "</p>")
		}
	}
	return template.HTML(b.String()) // of escaped text
}

// inline escapes text and marks what stands between backquotes.
func inline(s string) string {
	var b strings.Builder
	for i, piece := range strings.Split(strings.Join(strings.Fields(s), " "), "`") {
		if i%2 == 1 {
			b.WriteString("<code>" + template.HTMLEscapeString(piece) + "</code>")
		} else {
			b.WriteString(template.HTMLEscapeString(piece))
		}
	}
	return b.String()
}

// example renders a value of the file as JSON.
func example(summary string, n *yaml.Node) (Example, error) {
	var b bytes.Buffer
	if err := appendJSON(&b, n, 0); err != nil {
		return Example{}, err
	}
	var wide bytes.Buffer
	if err := json.Indent(&wide, b.Bytes(), "", "  "); err != nil {
		return Example{}, err
	}
	return Example{Summary: summary, HTML: light(wide.String()), compact: b.String()}, nil
}

// light marks the names of valid JSON: <b> is a member's name, <i> a value
// that is no text.
func light(s string) template.HTML {
	var b strings.Builder
	for i := 0; i < len(s); {
		switch c := s[i]; {
		case c == '"':
			end := i + 1
			for s[end] != '"' {
				if s[end] == '\\' {
					end++
				}
				end++
			}
			end++
			word := template.HTMLEscapeString(s[i:end])
			if end < len(s) && s[end] == ':' {
				word = "<b>" + word + "</b>"
			}
			b.WriteString(word)
			i = end
		case c == '-' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z':
			end := i + strings.IndexAny(s[i:]+"\n", ",\n ]}")
			b.WriteString("<i>" + template.HTMLEscapeString(s[i:end]) + "</i>")
			i = end
		default:
			b.WriteByte(c)
			i++
		}
	}
	return template.HTML(b.String())
}

// parts takes a path apart, so that a page can mark parameters and break lines
// after a slash.
func parts(path string) []Part {
	var all []Part
	for _, step := range strings.SplitAfter(path, "/") {
		name, slash := strings.CutSuffix(step, "/")
		if strings.HasPrefix(name, "{") {
			all = append(all, Part{Text: name, Param: true})
			name = ""
		}
		if slash {
			name += "/"
		}
		if name != "" {
			all = append(all, Part{Text: name})
		}
	}
	return all
}

// curl is a line for a shell in which API, ACCOUNT, APP and TOKEN are set, and
// what the path names, such as LIVESTREAM.
func curl(o *Operation) string {
	var b strings.Builder
	b.WriteString("curl")
	if !o.Open {
		b.WriteString(` -H "Authorization: Bearer $TOKEN"`)
	}
	if o.Method != "GET" {
		b.WriteString(" -X " + o.Method)
	}
	base := "$API"
	if o.Open {
		base = "$SERVER"
	}
	b.WriteString(` "` + base)
	for _, p := range o.Parts {
		if p.Param {
			p.Text = "$" + strings.ToUpper(strings.TrimSuffix(strings.Trim(p.Text, "{}"), "_id"))
		}
		b.WriteString(p.Text)
	}
	b.WriteByte('"')
	if o.Body != nil && len(o.Body.Examples) > 0 {
		body := strings.ReplaceAll(o.Body.Examples[0].compact, "'", `'\''`)
		b.WriteString(` -H "Content-Type: application/json" -d '` + body + "'")
	}
	return b.String()
}

// words makes "TooManyRequests" into "Too many requests".
func words(name string) string {
	var b strings.Builder
	for i, c := range name {
		if i > 0 && unicode.IsUpper(c) {
			b.WriteByte(' ')
			c = unicode.ToLower(c)
		}
		b.WriteRune(c)
	}
	return b.String()
}

// slug is a name as an anchor.
func slug(name string) string {
	return strings.Join(strings.FieldsFunc(strings.ToLower(name), func(c rune) bool {
		return !unicode.IsLetter(c) && !unicode.IsDigit(c)
	}), "-")
}
