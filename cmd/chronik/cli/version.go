package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/chronik-stream/chronik/internal/version"
)

func newVersion() *cobra.Command {
	var output string
	c := &cobra.Command{
		Use:   "version",
		Short: "Say which build this is",
		Example: `  chronik version
  chronik version -o json`,
		Args: exactly(),
		RunE: func(c *cobra.Command, _ []string) error {
			b := version.Get()
			if output == "json" {
				return writeJSON(c.OutOrStdout(), b)
			}
			_, err := fmt.Fprint(c.OutOrStdout(), versionLine(b))
			return err
		},
	}
	addOutput(c, &output, "text", "json")
	return c
}

func versionLine(b version.Build) string {
	return fmt.Sprintf("chronik %s (%s, %s)\n", b.Version, b.Go, b.Platform)
}

func newCompletion() *cobra.Command {
	return &cobra.Command{
		Use:   "completion bash|zsh|fish|powershell",
		Short: "Write a completion script for a shell",
		Example: `  source <(chronik completion bash)
  chronik completion zsh > "${fpath[1]}/_chronik"
  chronik completion fish > ~/.config/fish/completions/chronik.fish`,
		ValidArgs: []string{"bash", "zsh", "fish", "powershell"},
		Args:      exactly("the shell"),
		RunE: func(c *cobra.Command, args []string) error {
			root, out := c.Root(), c.OutOrStdout()
			switch args[0] {
			case "bash":
				return root.GenBashCompletionV2(out, true)
			case "zsh":
				return root.GenZshCompletion(out)
			case "fish":
				return root.GenFishCompletion(out, true)
			case "powershell":
				return root.GenPowerShellCompletionWithDesc(out)
			}
			return usagef("no completion for %q: it is bash, zsh, fish or powershell", args[0])
		},
	}
}
