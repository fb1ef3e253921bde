package completion

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

// tool is a command line with one of everything.
type tool struct {
	Stream struct {
		List struct {
			Status string `enum:",LIVE,IDLE" default:"" placeholder:"STATUS" help:"Only LIVE or IDLE: the user's choice."`
			Token  string `aliases:"key" placeholder:"TOKEN" help:"Who asks."`
			File   string `placeholder:"FILE" help:"A file."`
			Dir    string `placeholder:"DIR" help:"A directory."`
			JSON   bool   `name:"json" help:"Print JSON."`
			Yes    bool   `short:"y" help:"Do not ask."`
			Loud   *bool  `negatable:"" help:"Say much."`
			ID     string `arg:"" optional:""`
		} `cmd:"" help:"List streams. All of them."`
		Show   struct{} `cmd:"" help:"Show one, it's the \"newest\"."`
		Secret struct{} `cmd:"" hidden:""`
	} `cmd:"" help:"Streams."`
	Session struct{} `cmd:"" help:"Sessions."`
	Script  struct {
		Shell string `arg:"" enum:"bash,zsh"`
	} `cmd:"" help:"Write a script."`
}

func script(t *testing.T, shell string) string {
	t.Helper()
	parser, err := kong.New(&tool{}, kong.Name("tool"))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := Write(&out, shell, parser.Model); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// lines are command lines, as typed up to the cursor, and what is offered.
var lines = []struct {
	name, line string
	want       []string
}{
	{"commands", "tool ", []string{"script", "session", "stream"}},
	{"begin of a command", "tool se", []string{"session"}},
	{"commands of a group", "tool stream ", []string{"list", "show"}},
	{"begin of a command in a group", "tool stream s", []string{"show"}},
	{"flags", "tool stream list --", []string{"--dir", "--file", "--help", "--json", "--loud", "--no-loud", "--status", "--token", "--yes"}},
	{"begin of a flag", "tool stream list --j", []string{"--json"}},
	{"flags behind flags and values", "tool stream list --json --status LIVE x --st", []string{"--status"}},
	{"values", "tool stream list --status ", []string{"IDLE", "LIVE"}},
	{"begin of a value", "tool stream list --status L", []string{"LIVE"}},
	{"a free value", "tool stream list --token ", nil},
	{"a value that is a command's name", "tool --help stream list --key show --status I", []string{"IDLE"}},
	{"an argument's values", "tool script ", []string{"bash", "zsh"}},
	{"files", "tool stream list --file ", []string{"a file", "other", "sub"}},
	{"begin of a file", "tool stream list --file a", []string{"a file"}},
	{"directories", "tool stream list --dir ", []string{"sub"}},
	{"unknown command", "tool nonsense x", nil},
}

// directory has two files and a directory to be completed.
func directory(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"a file", "other"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "sub"), 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

// ask runs the shell itself on the script and returns what it offers.
func ask(t *testing.T, dir string, shell []string, program string, args ...string) []string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), shell[0], append(append(shell[1:], "-c", program, "complete"), args...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir(), "LC_ALL=C.UTF-8")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var offered []string
	for _, line := range strings.Split(strings.TrimSpace(string(out)), "\n") {
		if word := strings.TrimSuffix(strings.TrimSpace(line), "/"); word != "" {
			offered = append(offered, word)
		}
	}
	slices.Sort(offered)
	return offered
}

func TestBash(t *testing.T) {
	const program = `source "$1"; shift
		COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
		_tool; printf '%s\n' "${COMPREPLY[@]}"`
	dir, file := directory(t), written(t, "bash")
	for _, l := range lines {
		t.Run(l.name, func(t *testing.T) {
			args := append([]string{file}, strings.Split(l.line, " ")...)
			if got := ask(t, dir, []string{"bash", "--norc"}, program, args...); !slices.Equal(got, l.want) {
				t.Errorf("%q: %q, want %q", l.line, got, l.want)
			}
		})
	}
	t.Run("value behind an equals sign", func(t *testing.T) {
		got := ask(t, dir, []string{"bash", "--norc"}, program, file, "tool", "stream", "list", "--status", "=", "L")
		if !slices.Equal(got, []string{"LIVE"}) {
			t.Errorf("%q", got)
		}
		got = ask(t, dir, []string{"bash", "--norc"}, program, file, "tool", "stream", "list", "--status", "=")
		if !slices.Equal(got, []string{"IDLE", "LIVE"}) {
			t.Errorf("%q", got)
		}
	})
}

func TestFish(t *testing.T) {
	if _, err := exec.LookPath("fish"); err != nil {
		t.Log("fish is not installed: only written, not run")
		script(t, "fish")
		return
	}
	const program = `source $argv[2]; complete -C $argv[3] | string replace -r '\t.*' ''; true`
	dir, file := directory(t), written(t, "fish")
	for _, l := range lines {
		t.Run(l.name, func(t *testing.T) {
			got := ask(t, dir, []string{"fish", "--no-config"}, program, file, l.line)
			if strings.HasSuffix(l.line, "--") { // fish has the short ones and its own order
				got = slices.DeleteFunc(got, func(s string) bool { return s == "-h" || s == "-y" })
			}
			for i := range got {
				got[i] = strings.ReplaceAll(got[i], `\ `, " ")
			}
			if !slices.Equal(got, l.want) {
				t.Errorf("%q: %q, want %q", l.line, got, l.want)
			}
		})
	}
}

// TestZsh runs the script in zsh with the completion system's own functions
// replaced by ones that print what they are given: that system needs a terminal.
func TestZsh(t *testing.T) {
	if _, err := exec.LookPath("zsh"); err != nil {
		t.Log("zsh is not installed: only written, not run")
		script(t, "zsh")
		return
	}
	const program = `
		compdef() { : }
		compset() { PREFIX="${PREFIX#*=}" }
		starting() { print -rl -- ${(M)@:#${PREFIX}*} }
		compadd() { shift; starting "$@" }
		_files() { [[ $1 == -/ ]] && starting *(/N) || starting *(N) }
		_describe() { local name=${@[-1]}; starting "${(@)${(P)name}%%:*}" }
		file=$1; shift; source $file
		words=("$@"); CURRENT=$#; PREFIX=$words[CURRENT]
		_tool`
	dir, file := directory(t), written(t, "zsh")
	for _, l := range lines {
		t.Run(l.name, func(t *testing.T) {
			args := append([]string{file}, strings.Split(l.line, " ")...)
			if got := ask(t, dir, []string{"zsh", "-f"}, program, args...); !slices.Equal(got, l.want) {
				t.Errorf("%q: %q, want %q", l.line, got, l.want)
			}
		})
	}
	t.Run("value behind an equals sign", func(t *testing.T) {
		got := ask(t, dir, []string{"zsh", "-f"}, program, file, "tool", "stream", "list", "--status=L")
		if !slices.Equal(got, []string{"LIVE"}) {
			t.Errorf("%q", got)
		}
	})
}

func written(t *testing.T, shell string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "complete."+shell)
	if err := os.WriteFile(file, []byte(script(t, shell)), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestUnknownShell(t *testing.T) {
	parser := kong.Must(&tool{})
	if err := Write(&bytes.Buffer{}, "csh", parser.Model); err == nil || !strings.Contains(err.Error(), "bash, zsh, fish") {
		t.Errorf("%v", err)
	}
}
