package config

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/chronik-stream/chronik/internal/suggest"
)

// Inputs are everything that configuration is made of, weakest first.
type Inputs struct {
	File        string   // YAML; empty: what CHRONIK_CONFIG names, if anything
	Environment []string // as os.Environ gives it
	Flags       []Flag
	Roles       []string // of `chronik run`; none: `chronik dev`
	BucketOnly  bool     // what is said of anything but the bucket need not fit together: of a command that runs no server
	Hostname    string   // of the machine
	Memory      int64    // that the container around the process has; 0: no limit
}

// Flag is a value given on the command line.
type Flag struct {
	Key   string // of the setting, or an alias of Aliases
	Value string
	Name  string // as the user wrote it: --kafka
}

// Environ is the process's environment. It is read here and nowhere else.
func Environ() []string { return os.Environ() }

// Error says which input is wrong. Such an error is the user's to mend: it is
// wrong usage, not a failure.
type Error struct {
	Where string // flag, variable, or file:line
	Err   error
}

// Error implements error.
func (e *Error) Error() string { return fmt.Sprintf("configuration: %s: %v", e.Where, e.Err) }

// Unwrap gives the reason.
func (e *Error) Unwrap() error { return e.Err }

// Load puts the inputs over the defaults and checks the whole. Faults of
// several inputs are reported together.
func Load(in Inputs) (*Config, error) {
	l := loader{config: defaults(in.Roles), environment: environment(in.Environment)}
	l.config.hostname = in.Hostname
	for _, role := range in.Roles {
		if !slices.Contains(AllRoles(), role) {
			return nil, &Error{Where: "--roles", Err: fmt.Errorf("there is no role %q; there are %s", role, strings.Join(AllRoles(), ", "))}
		}
	}
	l.settings = l.config.settings()
	file := in.File
	if file == "" {
		file = l.environment["CHRONIK_CONFIG"]
	}
	if file != "" {
		l.file(file)
	}
	l.variables()
	for _, flag := range in.Flags {
		l.assign(flag.Key, flag.Value, flag.Name, flag.Name)
	}
	l.config.sources = make(map[string]Source)
	for _, s := range l.settings {
		if s.source.Name != "" {
			l.config.sources[s.Key] = s.source
		}
	}
	l.config.reachItself()
	l.config.fitMemory(in.Memory)
	switch {
	case len(l.faults) > 0:
		return nil, errors.Join(l.faults...)
	case in.BucketOnly:
		l.config.checkBucket(l.config.faultIn(&l.faults))
	default:
		l.faults = l.config.check()
	}
	return l.config, errors.Join(l.faults...)
}

// reachItself gives `chronik dev` an internal listener when clients are told where
// to connect: that may lead here from elsewhere only, as from outside a container.
func (c *Config) reachItself() {
	if !c.Clustered() && len(c.Kafka.Advertised) > 0 && c.Source("kafka.internal.listen").Name == "default" {
		c.Kafka.Internal.Listen = &Listener{Host: "localhost"}
	}
}

type loader struct {
	config      *Config
	settings    []*Setting
	environment map[string]string
	faults      []error
}

func (l *loader) fault(where string, err error) {
	l.faults = append(l.faults, &Error{Where: where, Err: err})
}

func (l *loader) find(key string) *Setting {
	for _, s := range l.settings {
		if s.Key == key {
			return s
		}
	}
	return nil
}

// assign gives one setting a value. where is for the error, source for config print.
func (l *loader) assign(key, value, where, source string) {
	s := l.find(key)
	if s == nil {
		l.fault(where, fmt.Errorf("unknown key %q%s", key, suggest.Hint(key, l.keys())))
		return
	}
	if err := s.Value.Set(value); err != nil {
		l.fault(where, fmt.Errorf("%s: %w", key, err))
		return
	}
	s.source = Source{Name: source, Instead: s.source.overridden()}
}

func (l *loader) keys() []string {
	var keys []string
	for _, s := range l.settings {
		keys = append(keys, s.Key)
	}
	return keys
}

// file reads the YAML file; its settings may be nested or dotted.
func (l *loader) file(name string) {
	text, err := os.ReadFile(name)
	if err != nil {
		l.fault(name, fmt.Errorf("read the configuration file: %w", err))
		return
	}
	assignments, err := flatten(text)
	if err != nil {
		l.fault(name, err)
		return
	}
	for _, a := range assignments {
		where := fmt.Sprintf("%s:%d", name, a.line)
		l.assign(a.key, a.value, where, where)
	}
}

// variables reads the environment: of each setting the CHRONIK_ name wins over
// its aliases, and those win in the order of the table.
func (l *loader) variables() {
	known := maps.Clone(clientVariables)
	for _, s := range l.settings {
		names := append([]string{s.Variable()}, s.Aliases...)
		slices.Reverse(names) // the strongest last
		for _, name := range names {
			known[name] = true
			if value, ok := l.environment[name]; ok {
				l.assign(s.Key, value, name, name)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(l.environment)) {
		if strings.HasPrefix(name, "CHRONIK_") && !known[name] && !testVariables[name] && !kubernetes.MatchString(name) {
			l.unknownVariable(name, known)
		}
	}
}

func (l *loader) unknownVariable(name string, known map[string]bool) {
	if feature, ok := laterVariables[name]; ok {
		if feature.refuse {
			l.fault(name, fmt.Errorf("%s is not built in this version, and the port would be open in spite of the setting; leave it unset", feature.name))
			return
		}
		l.config.Warnings = append(l.config.Warnings, fmt.Sprintf("%s is set, but %s is not built in this version", name, feature.name))
		return
	}
	l.fault(name, fmt.Errorf("unknown variable%s", nearVariable(name, known)))
}

// nearVariable is the hint at the known variable that was meant. The prefix that
// all have in common makes none nearer.
func nearVariable(name string, known map[string]bool) string {
	const prefix = "CHRONIK_"
	var rests []string
	for _, candidate := range slices.Sorted(maps.Keys(known)) {
		if rest, ok := strings.CutPrefix(candidate, prefix); ok {
			rests = append(rests, rest)
		}
	}
	near := suggest.Near(strings.TrimPrefix(name, prefix), rests)
	if near == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %q?", prefix+near)
}

// These begin with CHRONIK_ and are no settings: flags of the commands, and what
// the tests are told. Nobody who mistypes a variable means one of the tests'.
var (
	clientVariables = map[string]bool{"CHRONIK_CONFIG": true, "CHRONIK_BOOTSTRAP": true, "CHRONIK_URL": true}
	testVariables   = map[string]bool{"CHRONIK_TESTDATA": true, "CHRONIK_TOOLS": true, "CHRONIK_BIN": true}
)

// laterFeature is what a variable belongs to that this version does not have.
type laterFeature struct {
	name   string
	refuse bool // ignoring the variable would open a door
}

var laterVariables = map[string]laterFeature{
	"CHRONIK_SASL_USERS":                   {"SASL", true},
	"CHRONIK_SCHEMA_REGISTRY_AUTH_ENABLED": {"the schema registry", false},
	"CHRONIK_SCHEMA_REGISTRY_USERS":        {"the schema registry", false},
}

// kubernetes matches what Kubernetes puts into the environment of every pod
// beside a Service whose name begins with "chronik".
var kubernetes = regexp.MustCompile(`^CHRONIK_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT|PORT_\d+_(TCP|UDP)(_(PROTO|PORT|ADDR))?)$`)

func environment(list []string) map[string]string {
	variables := make(map[string]string, len(list))
	for _, assignment := range list {
		if name, value, ok := strings.Cut(assignment, "="); ok {
			variables[name] = value
		}
	}
	return variables
}
