package main

import (
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

// leaves are the commands that can be run: "livestream create".
func leaves() []*kong.Node { return newParser(io.Discard, io.Discard).Model.Leaves(true) }

func commandOf(n *kong.Node) string {
	var names []string
	for ; n != nil && n.Type == kong.CommandNode; n = n.Parent {
		names = append(names, n.Name)
	}
	slices.Reverse(names)
	return strings.Join(names, " ")
}

// TestEveryHelpHasExamples: each command's help shows it in use, and what it
// shows can be typed.
func TestEveryHelpHasExamples(t *testing.T) {
	atHome(t)
	for _, n := range leaves() {
		t.Run(commandOf(n), func(t *testing.T) {
			if !strings.Contains(n.Detail, "Example") {
				t.Fatal("no example in its help")
			}
			shown := examples(n.Detail, "  ")
			if len(shown) == 0 {
				t.Fatal("no line that begins with tally")
			}
			for _, line := range shown {
				parses(t, line)
			}
		})
	}
}

// TestCommandsDocument holds docs/cli.md to the command line: every command is
// in it, and every line of it can be typed.
func TestCommandsDocument(t *testing.T) {
	text, err := os.ReadFile("../../docs/cli.md")
	if err != nil {
		t.Fatal(err)
	}
	atHome(t)
	shown := map[string]bool{}
	for _, line := range examples(string(text), "    ") {
		shown[parses(t, line)] = true
	}
	for _, n := range leaves() {
		if !shown[commandOf(n)] {
			t.Errorf("docs/cli.md has no line `tally %s …`", commandOf(n))
		}
	}
	for _, n := range leaves() {
		delete(shown, commandOf(n))
	}
	if len(shown) > 0 {
		t.Errorf("docs/cli.md has %v, which are no commands", shown)
	}
}

// atHome makes a directory with the files that examples name the working one,
// without variables that would hide what an example lacks.
func atHome(t *testing.T) {
	t.Helper()
	t.Chdir(t.TempDir())
	if err := os.WriteFile("tally.yaml", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, e := range os.Environ() {
		if name, _, _ := strings.Cut(e, "="); strings.HasPrefix(name, "TALLY_") {
			t.Setenv(name, "") // brings it back at the end
			os.Unsetenv(name)
		}
	}
	for _, name := range []string{"BASE", "TOKEN", "ACCOUNT", "APP"} {
		t.Setenv("TALLY_FROM_"+name, "http://x")
	}
}

// parses checks one command line and returns its command.
func parses(t *testing.T, line string) string {
	t.Helper()
	words := shellWords(line)
	ctx, err := newParser(io.Discard, io.Discard).Parse(words[1:])
	if err != nil {
		t.Errorf("%s: %v", line, err)
		return ""
	}
	return commandOf(ctx.Selected())
}

// examples are the lines of text that are indented so and begin with tally,
// with continuations joined, redirections and comments cut off.
func examples(text, indent string) []string {
	text = strings.ReplaceAll(text, "\\\n", " ")
	var lines []string
	for _, line := range strings.Split(text, "\n") {
		rest, indented := strings.CutPrefix(line, indent)
		if !indented {
			continue
		}
		rest = regexp.MustCompile(`^([A-Z_]+=\S+ )+`).ReplaceAllString(rest, "")
		if !strings.HasPrefix(rest, "tally ") {
			continue
		}
		rest = regexp.MustCompile(`  +#.*| [|>] .*`).ReplaceAllString(rest, "")
		lines = append(lines, rest)
	}
	return lines
}

// shellWords splits a line as a shell does, as far as our examples go.
func shellWords(line string) []string {
	var words []string
	for _, w := range regexp.MustCompile(`(?:[^\s'"]|'[^']*'|"[^"]*")+`).FindAllString(line, -1) {
		words = append(words, strings.NewReplacer(`'`, "", `"`, "").Replace(w))
	}
	return words
}
