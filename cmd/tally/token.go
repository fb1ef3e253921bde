package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"tally/internal/auth"
	"tally/internal/cli"
	"tally/internal/livestream"
	"tally/internal/store/sqlite"
)

// tokenCreateCmd is `tally token create`: over the API, or with --offline in
// the database itself, for who has lost every token and owns the machine.
type tokenCreateCmd struct {
	cli.TokenCreateCmd
	Offline bool `help:"Write it into --data-dir, whose server is stopped: for when every token is lost."`
	Save    bool `help:"With --offline: put it into DIR/credentials.json too, so that commands on this machine use it."`
}

// Help implements kong.HelpProvider.
func (c tokenCreateCmd) Help() string {
	return c.TokenCreateCmd.Help() + `

When every token is lost: stop the server, then on its machine

  tally token create recovered --offline --scope admin --data-dir DIR --save`
}

// Run implements the command.
func (c *tokenCreateCmd) Run(ctx context.Context, s *cli.Streams) error {
	if c.Offline {
		return c.offline(ctx, s)
	}
	if c.Save {
		return cli.Usagef("--save goes with --offline: over the API the token is printed alone")
	}
	return c.TokenCreateCmd.Run(ctx, s)
}

// offline makes the token without a server.
func (c *tokenCreateCmd) offline(ctx context.Context, s *cli.Streams) (err error) {
	now := time.Now().UTC()
	expires, err := c.ExpiresAt(now)
	if err != nil {
		return err
	}
	if n := utf8.RuneCountInString(c.Name); n < 1 || n > 255 || !utf8.ValidString(c.Name) {
		return cli.Usagef("a token's name has 1 to 255 characters")
	}
	path := filepath.Join(c.DataDir, "tally.db")
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s has no database: give the --data-dir of the server", c.DataDir)
	}
	store, err := sqlite.Open(ctx, path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	account, app, err := c.account(ctx, store)
	if err != nil {
		return err
	}
	text, hash := auth.NewToken()
	token := livestream.Token{
		ID: livestream.NewUUID(), Hash: hash, AccountID: account, Name: c.Name,
		Scopes: c.ScopeNames(), AppIDs: c.App, CreatedAt: now, ExpiresAt: expires,
	}
	if err := store.CreateToken(ctx, token); err != nil {
		return fmt.Errorf("create token: %w", err)
	}
	if c.Save {
		if err := c.save(account, app, text.Reveal()); err != nil {
			return err
		}
	}
	return c.print(s, token, app, text.Reveal())
}

// account finds whose token it is to be, and an app it may use: what the flags
// say, else the credentials file, else the only account that the store has.
func (c *tokenCreateCmd) account(ctx context.Context, store *sqlite.Store) (account, app string, err error) {
	apps, err := store.EveryApp(ctx)
	if err != nil {
		return "", "", err
	}
	account = c.AccountID
	if known, err := cli.ReadCredentials(c.DataDir); err == nil && account == "" {
		account = known.AccountID
	}
	var accounts, own []string
	for _, a := range apps {
		if !slices.Contains(accounts, a.AccountID) {
			accounts = append(accounts, a.AccountID)
		}
	}
	if account == "" && len(accounts) == 1 {
		account = accounts[0]
	}
	if !slices.Contains(accounts, account) {
		return "", "", cli.Usagef("give --account-id, one of: %s", strings.Join(accounts, ", "))
	}
	for _, a := range apps {
		if a.AccountID == account {
			own = append(own, a.AppID)
		}
	}
	for _, id := range c.App {
		if !slices.Contains(own, id) {
			return "", "", cli.Usagef("account %s has no app %q; it has: %s", account, id, strings.Join(own, ", "))
		}
	}
	wished := own
	if len(c.App) > 0 {
		wished = c.App
	}
	if slices.Contains(wished, c.AppID) {
		return account, c.AppID, nil
	}
	return account, wished[0], nil
}

// save writes the token to the credentials file. The next start of the server
// brings its address up to date.
func (c *tokenCreateCmd) save(account, app, text string) error {
	base := "http://127.0.0.1:8080/client/v4"
	if known, err := cli.ReadCredentials(c.DataDir); err == nil && known.APIBase != "" {
		base = known.APIBase
	}
	return writeCredentials(c.DataDir, cli.Credentials{APIBase: base, AccountID: account, AppID: app, APIToken: text})
}

// print tells what the API's answer would, and where the token belongs.
func (c *tokenCreateCmd) print(s *cli.Streams, k livestream.Token, app, text string) error {
	t := cli.Token{ID: k.ID, Name: k.Name, Scopes: k.Scopes, AppIDs: append([]string{}, k.AppIDs...), CreatedAt: &k.CreatedAt, Text: text}
	if !k.ExpiresAt.IsZero() {
		t.ExpiresAt = &k.ExpiresAt
	}
	if c.JSON {
		return s.JSON(t)
	}
	cli.PrintNewToken(s, t)
	s.Printf("account id %s, app id %s\n", k.AccountID, app)
	if c.Save {
		s.Printf("%s has it too\n", cli.CredentialsFile(c.DataDir))
	}
	return nil
}
