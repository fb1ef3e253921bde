// Package completion writes shell completion for a command line from its
// model: commands, flags, the values a flag takes, and file names where it
// takes a file. The scripts are complete in themselves: nothing of the program
// runs while somebody types.
//
// Each script walks the words before the cursor from command to command, as
// the parser does, stepping over the values of flags; then it offers what may
// stand at the cursor.
package completion

import (
	"fmt"
	"io"
	"strings"

	"github.com/alecthomas/kong"
)

// Shells are the shells that Write knows.
var Shells = []string{"bash", "zsh", "fish"}

// Write writes the completion script of app for one of Shells.
func Write(w io.Writer, shell string, app *kong.Application) error {
	nodes := collect(app)
	var text string
	switch shell {
	case "bash":
		text = bash(app.Name, nodes)
	case "zsh":
		text = zsh(app.Name, nodes)
	case "fish":
		text = fish(app.Name, nodes)
	default:
		return fmt.Errorf("no completion for %q: only for %s", shell, strings.Join(Shells, ", "))
	}
	_, err := io.WriteString(w, text)
	return err
}

// A node is one command, or a group of commands.
type node struct {
	path     string // "livestream list"; "" for the program itself
	children []word
	flags    []flag
	values   []string // what its positional argument may be; nil: anything
}

// A word is something to offer, with what it means.
type word struct{ text, help string }

// A flag is an option of a node.
type flag struct {
	names  []string // --status, -s; the first is offered, all are understood
	help   string
	takes  bool     // a value follows
	values []string // which; nil: anything
	files  string   // "file", "dir", or "" where its value is no path
}

// collect flattens the model, each command after its group.
func collect(app *kong.Application) []node {
	var nodes []node
	var visit func(n *kong.Node, path string, inherited []flag)
	visit = func(n *kong.Node, path string, inherited []flag) {
		flags := append(inherited[:len(inherited):len(inherited)], flagsOf(n)...)
		at := node{path: path, flags: flags}
		for _, p := range n.Positional {
			if at.values == nil {
				at.values = enum(p)
			}
		}
		for _, c := range n.Children {
			if !c.Hidden {
				at.children = append(at.children, word{c.Name, brief(c.Help)})
			}
		}
		nodes = append(nodes, at)
		for _, c := range n.Children {
			if !c.Hidden {
				visit(c, strings.TrimSpace(path+" "+c.Name), flags)
			}
		}
	}
	visit(app.Node, "", nil)
	return nodes
}

func flagsOf(n *kong.Node) []flag {
	var flags []flag
	for _, f := range n.Flags {
		if f.Hidden {
			continue
		}
		out := flag{names: []string{"--" + f.Name}, help: brief(f.Help), takes: !f.IsBool() && !f.IsCounter(), values: enum(f.Value)}
		for _, alias := range f.Aliases {
			out.names = append(out.names, "--"+alias)
		}
		if f.Short != 0 {
			out.names = append(out.names, "-"+string(f.Short))
		}
		switch f.PlaceHolder {
		case "FILE":
			out.files = "file"
		case "DIR":
			out.files = "dir"
		}
		flags = append(flags, out)
		if f.Tag.Negatable != "" {
			flags = append(flags, flag{names: []string{"--no-" + f.Name}, help: brief("Not: " + f.Help)})
		}
	}
	return flags
}

// enum are the values a flag or argument is limited to; nil: any.
func enum(v *kong.Value) []string {
	if v.Enum == "" {
		return nil
	}
	var values []string
	for _, text := range v.EnumSlice() {
		if text != "" {
			values = append(values, text)
		}
	}
	return values
}

// brief is the first sentence of a help text, on one line.
func brief(help string) string {
	help = strings.Join(strings.Fields(help), " ")
	for _, end := range []string{". ", "; ", " ("} {
		if i := strings.Index(help, end); i > 0 {
			help = help[:i]
		}
	}
	help = strings.TrimSuffix(help, ".")
	if runes := []rune(help); len(runes) > 70 {
		help = string(runes[:69]) + "…"
	}
	return help
}

// quote is text as one word of a POSIX shell.
func quote(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }

// moves writes the case arms by which a walk goes from node to node and steps
// over values: `'livestream|list') node='livestream list' ;;`.
func moves(b *strings.Builder, nodes []node, indent string) {
	for _, n := range nodes {
		for _, c := range n.children {
			to := strings.TrimSpace(n.path + " " + c.text)
			fmt.Fprintf(b, "%s%s) node=%s ;;\n", indent, quote(n.path+"|"+c.text), quote(to))
		}
		var taking []string
		for _, f := range n.flags {
			if f.takes {
				for _, name := range f.names {
					taking = append(taking, quote(n.path+"|"+name))
				}
			}
		}
		if len(taking) > 0 {
			fmt.Fprintf(b, "%s%s) skip=1 ;;\n", indent, strings.Join(taking, "|"))
		}
	}
}

// valued writes the case arms of flags whose value can be offered; give gets
// the flag and returns the command that offers it.
func valued(b *strings.Builder, nodes []node, indent string, give func(flag) string) {
	for _, n := range nodes {
		var plain []string
		for _, f := range n.flags {
			var patterns []string
			for _, name := range f.names {
				patterns = append(patterns, quote(n.path+"|"+name))
			}
			switch {
			case !f.takes:
			case f.values == nil && f.files == "":
				plain = append(plain, patterns...)
			default:
				fmt.Fprintf(b, "%s%s) %s; return ;;\n", indent, strings.Join(patterns, "|"), give(f))
			}
		}
		if len(plain) > 0 { // anything may follow: nothing to offer
			fmt.Fprintf(b, "%s%s) return ;;\n", indent, strings.Join(plain, "|"))
		}
	}
}
