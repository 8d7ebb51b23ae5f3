package cli

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/chronik-stream/chronik/cmd/chronik/config"
	"github.com/chronik-stream/chronik/cmd/chronik/node"
)

// settings are the flags that give configuration: --config, --set, and the short
// forms of some keys.
type settings struct {
	file  string
	sets  []string
	roles []string // of a node of a cluster; none: chronik dev
	// bucket: the command runs no server, and only looks into the bucket.
	bucket bool
	short  []shortFlag
	value  map[string]*string
}

// shortFlag is a flag of its own for a setting that is given often.
type shortFlag struct {
	name, usage string
	assign      func(value string) []config.Flag
}

func (s *settings) add(c *cobra.Command, short ...shortFlag) {
	c.Flags().StringVar(&s.file, "config", "", "YAML file with settings (CHRONIK_CONFIG)")
	c.Flags().StringArrayVar(&s.sets, "set", nil, "a setting as key=value, such as --set segment.age=1s; see docs/configuration.md")
	s.short, s.value = short, make(map[string]*string)
	for _, f := range short {
		s.value[f.name] = c.Flags().String(f.name, "", f.usage)
	}
}

func (s *settings) load(c *cobra.Command, e env) (*config.Config, error) {
	in := config.Inputs{File: s.file, Environment: e.process.Environment, Roles: s.roles, BucketOnly: s.bucket, Memory: node.ContainerMemory(os.DirFS("/"))}
	var err error
	if in.Hostname, err = os.Hostname(); err != nil {
		return nil, fmt.Errorf("find the machine's name: %w", err)
	}
	for _, assignment := range s.sets {
		key, value, ok := strings.Cut(assignment, "=")
		if !ok {
			return nil, usagef("--set %s: it is key=value", assignment)
		}
		in.Flags = append(in.Flags, config.Flag{Key: key, Value: value, Name: "--set " + key})
	}
	for _, f := range s.short {
		if c.Flags().Changed(f.name) {
			in.Flags = append(in.Flags, f.assign(*s.value[f.name])...)
		}
	}
	return config.Load(in)
}

// nodeFlags are the short forms of a node's settings; only a broker serves Kafka.
func nodeFlags(roles []string) []shortFlag {
	if slices.Contains(roles, config.RoleBroker) {
		return addressFlags("./data", ":9092, with kafka.advertised", ":6092")
	}
	return slices.DeleteFunc(addressFlags("./data", "", ":6092"), func(f shortFlag) bool { return f.name == "kafka" })
}

// devFlags are the short forms of `chronik dev`.
func devFlags() []shortFlag { return addressFlags("./data", "localhost:9092", "localhost:6092") }

func addressFlags(data, kafka, http string) []shortFlag {
	one := func(key, name string) func(string) []config.Flag {
		return func(value string) []config.Flag { return []config.Flag{{Key: key, Value: value, Name: name}} }
	}
	return []shortFlag{
		{"data", "folder for everything local (default " + data + ")", one("data_dir", "--data")},
		{"kafka", "address for Kafka clients (default " + kafka + "; port 0 picks a free one)", one("kafka.listen", "--kafka")},
		{"http", "address for HTTP (default " + http + "; port 0 picks a free one)", func(value string) []config.Flag {
			host, port, found := cutLast(value, ":")
			if !found {
				host, port = value, ""
			}
			return []config.Flag{
				{Key: "http.bind", Value: strings.Trim(host, "[]"), Name: "--http"},
				{Key: "http.port", Value: port, Name: "--http"},
			}
		}},
	}
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

func newConfig(e env) *cobra.Command {
	return group("config", "Look at the configuration", "", newConfigPrint(e))
}

func newConfigPrint(e env) *cobra.Command {
	var s settings
	var output, roles string
	var given bool
	c := &cobra.Command{
		Use:   "print",
		Short: "Show every setting in force and where its value was given",
		Long: `Show every setting that chronik dev would run with, or with --roles chronik run, and
where its value was given: default, file:line, variable, or flag. Secrets are hidden.`,
		Example: `  chronik config print
  chronik config print --given                   # only what is not a default
  chronik config print --roles broker,compactor  # as a node of a cluster with these roles
  CHRONIK_SEGMENT_AGE=1s chronik config print --config chronik.yaml
  chronik config print -o json`,
		Args: exactly(),
		RunE: func(c *cobra.Command, _ []string) error {
			if c.Flags().Changed("roles") {
				var err error
				if s.roles, err = rolesOf(roles); err != nil {
					return err
				}
			}
			// What is wrong is easier to find when the rest is to be seen.
			cfg, err := s.load(c, e)
			if cfg == nil {
				return err
			}
			for _, warning := range cfg.Warnings {
				fmt.Fprintln(c.ErrOrStderr(), "warning:", warning)
			}
			return errors.Join(printConfig(c, cfg, output, given), err)
		},
	}
	s.add(c, devFlags()...)
	c.Flags().StringVar(&roles, "roles", "", "show what chronik run would run with, with these roles")
	c.Flags().BoolVar(&given, "given", false, "leave out what is a default")
	addOutput(c, &output, "table", "json")
	return c
}

func printConfig(c *cobra.Command, cfg *config.Config, output string, given bool) error {
	type row struct {
		Key       string   `json:"key"`
		Value     string   `json:"value"`
		Source    string   `json:"source"`
		Overrides []string `json:"overrides,omitempty"`
	}
	rows := []row{}
	for _, setting := range cfg.Settings() {
		source := cfg.Source(setting.Key)
		if given && source.Name == "default" {
			continue
		}
		rows = append(rows, row{setting.Key, setting.Value.String(), source.Name, source.Instead})
	}
	if output == "json" {
		return writeJSON(c.OutOrStdout(), rows)
	}
	t := newTable("setting", "value", "source")
	for _, r := range rows {
		source := r.Source
		if len(r.Overrides) > 0 {
			source += " (wins over " + strings.Join(r.Overrides, ", ") + ")"
		}
		t.add(r.Key, r.Value, source)
	}
	return t.write(c.OutOrStdout())
}
