package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/file"
	"github.com/knadh/koanf/v2"
	yamlv3 "go.yaml.in/yaml/v3"
)

// configFile answers kong's question what a flag is when the command line does
// not say: from the YAML file that --config names. The environment goes before
// the file. A key of the file is a flag's name without its dashes, so every
// flag is a key, and a key that is no flag is an error.
type configFile struct {
	path   string
	values map[string]string
}

// A configError is about the file, so no flag's help would help.
type configError struct{ error }

// Validate implements kong.Resolver.
func (c *configFile) Validate(*kong.Application) error { return nil }

// Resolve implements kong.Resolver.
func (c *configFile) Resolve(ctx *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	path := configPath(ctx)
	if path == "" || flag.Name == "config" {
		return nil, nil
	}
	if c.path != path {
		values, err := readConfig(path, configKeys(ctx))
		if err != nil {
			return nil, configError{err}
		}
		c.path, c.values = path, values
	}
	for _, env := range flag.Envs {
		if _, set := os.LookupEnv(env); set {
			return nil, nil
		}
	}
	if v, ok := c.values[flag.Name]; ok {
		return v, nil
	}
	return nil, nil
}

// configPath is the value of --config, "" where the command has no such flag.
func configPath(ctx *kong.Context) string {
	for _, f := range ctx.Flags() {
		if f.Name == "config" {
			path, _ := ctx.FlagValue(f).(string)
			return path
		}
	}
	return ""
}

// configKeys lists the keys a file may have: the flags of the server.
func configKeys(ctx *kong.Context) []string {
	var keys []string
	for _, node := range ctx.Model.Children {
		if node.Name != "serve" {
			continue
		}
		for _, f := range node.Flags {
			if f.Name != "config" && f.Name != "help" {
				keys = append(keys, f.Name)
			}
		}
	}
	return keys
}

// readConfig reads path into text values by key. Its errors are for people:
// file, line, and what to change.
func readConfig(path string, keys []string) (map[string]string, error) {
	lines, err := keyLines(path)
	if err != nil {
		return nil, err
	}
	for _, l := range lines {
		if !slices.Contains(keys, l.key) {
			return nil, fmt.Errorf("%s line %d: unknown key %q%s", path, l.line, l.key, suggest(l.key, keys))
		}
	}
	k := koanf.New("\x00") // no key holds a NUL: a key is never split into a path
	if err := k.Load(file.Provider(path), yaml.Parser()); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	values := make(map[string]string, len(lines))
	for _, l := range lines {
		switch v := k.Get(l.key).(type) {
		case nil:
			values[l.key] = ""
		case []any:
			values[l.key] = strings.Join(k.Strings(l.key), ",")
		case map[string]any:
			return nil, fmt.Errorf("%s line %d: %q must be one value or a list, not a block", path, l.line, l.key)
		default:
			values[l.key] = fmt.Sprint(v)
		}
	}
	return values, nil
}

// A keyLine is one top-level key of a YAML file and where it stands.
type keyLine struct {
	key  string
	line int
}

// keyLines parses the file just far enough to know its keys' lines.
func keyLines(path string) ([]keyLine, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("--config %s: no such file", path)
	}
	if err != nil {
		return nil, fmt.Errorf("--config: %w", err)
	}
	var doc yamlv3.Node
	if err := yamlv3.Unmarshal(text, &doc); err != nil {
		return nil, fmt.Errorf("%s is not YAML: %s", path, strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if len(doc.Content) == 0 {
		return nil, nil // empty file
	}
	root := doc.Content[0]
	if root.Kind != yamlv3.MappingNode {
		return nil, fmt.Errorf("%s line %d: expected lines of the form `http-addr: \":8080\"`", path, root.Line)
	}
	var lines []keyLine
	for i := 0; i+1 < len(root.Content); i += 2 {
		lines = append(lines, keyLine{root.Content[i].Value, root.Content[i].Line})
	}
	return lines, nil
}

// suggest names the known key nearest to key, if one is near.
func suggest(key string, known []string) string {
	best, bestDistance := "", len(key)/2+1
	for _, k := range known {
		if d := distance(strings.ToLower(strings.ReplaceAll(key, "_", "-")), k); d < bestDistance {
			best, bestDistance = k, d
		}
	}
	if best == "" {
		return "; known keys: " + strings.Join(known, ", ")
	}
	return fmt.Sprintf("; did you mean %q?", best)
}

// distance is the number of insertions, deletions and replacements between a and b.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
