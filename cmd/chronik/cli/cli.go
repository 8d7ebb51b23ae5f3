// Package cli is the command line: one file per command, each a thin layer over
// what it calls, with help that teaches by example.
//
// It promises exit codes (0 done, 1 failed, 2 wrong usage), results on standard
// output and everything else on standard error, and that a command which is
// listed works. Client commands speak the Kafka protocol and HTTP and nothing
// else, so they work with any Chronik, near or far.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/chronik-stream/chronik/cmd/chronik/config"
	"github.com/chronik-stream/chronik/internal/suggest"
	"github.com/chronik-stream/chronik/internal/version"
)

// Process is what a command sees of the process that it runs in.
type Process struct {
	Environment []string
	In          io.Reader
	Out, Err    io.Writer
}

// Exit codes.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

// usageError is a mistake of the caller's, told apart by the exit code.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error { return &usageError{fmt.Errorf(format, args...)} }

// Main runs one command line and returns the exit code.
func Main(ctx context.Context, args []string, process Process) int {
	started := false // past this everything is a failure, before it wrong usage
	root := newRoot(process, &started)
	root.SetArgs(args)
	root.SetIn(process.In)
	root.SetOut(process.Out)
	root.SetErr(process.Err)
	command, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitDone
	}
	var usage *usageError
	var wrong *config.Error
	if !started || errors.As(err, &usage) || errors.As(err, &wrong) {
		fmt.Fprintf(process.Err, "chronik: %v\nsee '%s --help'\n", err, command.CommandPath())
		return exitUsage
	}
	fmt.Fprintf(process.Err, "chronik: %v\n", err)
	return exitFailed
}

func newRoot(process Process, started *bool) *cobra.Command {
	root := &cobra.Command{
		Use:   "chronik",
		Short: "A Kafka-compatible log on object storage whose topics are SQL tables, and searchable",
		Long: `Chronik is a Kafka-compatible log on object storage whose topics can be SQL tables,
and searchable.

Start everything in one process, then use it from another terminal:

  chronik dev
  chronik topic create orders --partitions 6 --config columnar.enabled=true --config searchable=true
  echo '{"city":"Oslo","amount":12.5}' | chronik produce orders
  chronik consume orders --count 1
  chronik sql 'SELECT city, sum(amount) FROM orders GROUP BY city'
  chronik search orders 'city:oslo'

Any Kafka client works as well: kcat -b 127.0.0.1:9092 -L`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          subcommandOnly,
		RunE:          showHelp,
		PersistentPreRun: func(*cobra.Command, []string) {
			*started = true
		},
	}
	root.CompletionOptions.DisableDefaultCmd = true
	root.Version = version.String() // gives --version
	root.SetVersionTemplate(versionLine(version.Get()))
	e := env{process}
	root.AddCommand(
		newDev(e), newRun(e), newBroker(e), newCompactor(e), newQuery(e),
		newTopic(e), newProduce(e), newConsume(e), newGroup(e), newSQL(e), newSearch(e), newVector(e), newHybrid(e), newCluster(e), newHealth(e),
		newDump(e), newBench(e), newConfig(e), newVersion(), newCompletion(),
	)
	root.InitDefaultHelpCmd()
	help, _, _ := root.Find([]string{"help"})
	help.Long = "Show the help of a command, as --help does behind it."
	help.Example = "  chronik help topic create"
	help.Args = func(c *cobra.Command, args []string) error {
		about, rest, _ := c.Root().Find(args)
		return subcommandOnly(about, rest)
	}
	return root
}

// group is a command that only holds others.
func group(use, short, long string, commands ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, Long: long, Args: subcommandOnly, RunE: showHelp}
	c.AddCommand(commands...)
	return c
}

func showHelp(c *cobra.Command, _ []string) error { return c.Help() }

func subcommandOnly(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	var names []string
	for _, sub := range c.Commands() {
		names = append(names, sub.Name())
	}
	return usagef("%s has no command %q%s", c.CommandPath(), args[0], suggest.Hint(args[0], names))
}

// exactly asks for the named arguments.
func exactly(names ...string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		switch {
		case len(args) < len(names):
			return usagef("%s is missing", names[len(args)])
		case len(args) > len(names):
			return usagef("%q is one argument too many (quote what belongs together)", args[len(names)])
		}
		return nil
	}
}

// atLeastOne asks for the named arguments, of which the last may be several.
func atLeastOne(names ...string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) < len(names) {
			return usagef("%s is missing", names[len(args)])
		}
		return nil
	}
}

// env is what commands share.
type env struct{ process Process }

// variable returns an environment variable, or otherwise when it is not set or
// empty.
func (e env) variable(name, otherwise string) string {
	value := otherwise
	for _, assignment := range e.process.Environment {
		if given, ok := strings.CutPrefix(assignment, name+"="); ok && given != "" {
			value = given
		}
	}
	return value
}

// addOutput gives a command -o.
func addOutput(c *cobra.Command, to *string, forms ...string) {
	c.Flags().StringVarP(to, "output", "o", forms[0], "form of the output: "+strings.Join(forms, ", "))
	c.PreRunE = func(*cobra.Command, []string) error {
		for _, form := range forms {
			if *to == form {
				return nil
			}
		}
		return usagef("--output %s: it is one of %s", *to, strings.Join(forms, ", "))
	}
}
