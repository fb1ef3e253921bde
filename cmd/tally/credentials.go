package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"tally/internal/auth"
	"tally/internal/cli"
	"tally/internal/livestream"
)

// firstStart makes one account, one app and one token with Realtime Admin when
// the store has no token yet, writes them to the data directory and prints them
// to out, once: after that the store knows the token only hashed. Later starts
// keep the file and bring its api_base up to date.
//
// The file is written before the rows, so that a crash in between leaves a
// start that simply makes new ones.
func firstStart(ctx context.Context, store livestream.Store, f *serverFlags, apiBase string, out io.Writer, log *slog.Logger) (cli.Credentials, error) {
	started, err := store.HasTokens(ctx)
	if err != nil {
		return cli.Credentials{}, fmt.Errorf("look for tokens: %w", err)
	}
	if started {
		return laterStart(f, apiBase, log)
	}
	token, _ := auth.NewToken()
	c := cli.Credentials{
		APIBase:   apiBase,
		AccountID: preset(f.AccountID, livestream.NewHex32),
		AppID:     preset(f.AppID, livestream.NewHex32),
		APIToken:  preset(f.APIToken, token.Reveal),
	}
	if err := writeCredentials(f.DataDir, c); err != nil {
		return cli.Credentials{}, err
	}
	if err := storeCredentials(ctx, store, c); err != nil {
		return cli.Credentials{}, err
	}
	fmt.Fprintf(out, "First start. These are shown once; %s keeps them (mode 0600).\n", cli.CredentialsFile(f.DataDir))
	fmt.Fprintf(out, "  api base     %s\n  account id   %s\n  app id       %s\n  api token    %s\n",
		c.APIBase, c.AccountID, c.AppID, c.APIToken)
	return c, nil
}

// preset returns given, or a new value where there is none.
func preset(given string, fresh func() string) string {
	if given != "" {
		return given
	}
	return fresh()
}

// storeCredentials writes the app and the token's hash.
func storeCredentials(ctx context.Context, store livestream.Store, c cli.Credentials) error {
	now := time.Now().UTC()
	scope := livestream.Scope{AccountID: c.AccountID, AppID: c.AppID}
	_, err := store.App(ctx, scope)
	if errors.Is(err, livestream.ErrNotFound) {
		err = store.CreateApp(ctx, livestream.App{AccountID: c.AccountID, ID: c.AppID, Name: "default", CreatedAt: now})
	}
	if err != nil {
		return fmt.Errorf("create app: %w", err)
	}
	err = store.CreateToken(ctx, livestream.Token{
		ID:        livestream.NewUUID(),
		Hash:      auth.HashToken(c.APIToken),
		AccountID: c.AccountID,
		Name:      "first start",
		Scopes:    []string{auth.RealtimeAdmin},
		CreatedAt: now,
	})
	if err != nil {
		return fmt.Errorf("create token: %w", err)
	}
	return nil
}

// laterStart returns the credentials file with api_base as it is now. Without
// a file there is nothing to write: the token's text is known to its holder.
func laterStart(f *serverFlags, apiBase string, log *slog.Logger) (cli.Credentials, error) {
	c, err := cli.ReadCredentials(f.DataDir)
	if errors.Is(err, fs.ErrNotExist) {
		log.Info("no credentials file; the tokens made before stay valid", "file", cli.CredentialsFile(f.DataDir))
		return cli.Credentials{APIBase: apiBase}, nil
	}
	if err != nil {
		return cli.Credentials{}, err
	}
	differs := func(preset, kept string) bool { return preset != "" && preset != kept }
	if differs(f.AccountID, c.AccountID) || differs(f.AppID, c.AppID) || differs(f.APIToken, c.APIToken) {
		log.Warn("--account-id, --app-id and --api-token act at the first start only; this data directory keeps the ones it has",
			"file", cli.CredentialsFile(f.DataDir))
	}
	if c.APIBase == apiBase {
		return c, nil
	}
	c.APIBase = apiBase
	return c, writeCredentials(f.DataDir, c)
}

// writeCredentials replaces the file in one step, readable by its owner alone.
func writeCredentials(dataDir string, c cli.Credentials) error {
	text, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return fmt.Errorf("encode credentials: %w", err)
	}
	tmp, err := os.CreateTemp(dataDir, ".credentials-*") // mode 0600
	if err != nil {
		return dataDirError(dataDir, err)
	}
	defer os.Remove(tmp.Name()) // gone already after the rename
	_, err = tmp.Write(append(text, '\n'))
	err = errors.Join(err, tmp.Sync(), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), cli.CredentialsFile(dataDir))
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", filepath.Base(cli.CredentialsFile(dataDir)), err)
	}
	return nil
}
