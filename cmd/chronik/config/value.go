package config

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/chronik-stream/chronik/objstore/faults"
)

// Value is what a setting writes to: it reads text, and shows itself so that
// the same text would be read again.
type Value interface {
	Set(text string) error
	String() string
	Type() string // in words, for the documentation
}

type textValue struct{ to *string }

func (v textValue) Set(text string) error { *v.to = text; return nil }
func (v textValue) String() string        { return *v.to }
func (v textValue) Type() string          { return "text" }

// Secret is text that is never shown.
type Secret string

// String hides the secret.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "********"
}

// GoString hides it in %#v.
func (s Secret) GoString() string { return s.String() }

// Reveal returns the secret itself, for the one who needs it.
func (s Secret) Reveal() string { return string(s) }

type secretValue struct{ to *Secret }

func (v secretValue) Set(text string) error { *v.to = Secret(text); return nil }
func (v secretValue) String() string        { return v.to.String() }
func (v secretValue) Type() string          { return "secret" }

type choiceValue struct {
	to      *string
	allowed []string
}

func (v choiceValue) Set(text string) error {
	if !slices.Contains(v.allowed, text) {
		return fmt.Errorf("%q is not one of %s", text, strings.Join(v.allowed, ", "))
	}
	*v.to = text
	return nil
}
func (v choiceValue) String() string { return *v.to }
func (v choiceValue) Type() string   { return strings.Join(v.allowed, " \\| ") }

type boolValue struct{ to *bool }

func (v boolValue) Set(text string) error {
	switch text {
	case "true":
		*v.to = true
	case "false":
		*v.to = false
	default:
		return fmt.Errorf("%q is neither true nor false", text)
	}
	return nil
}
func (v boolValue) String() string { return strconv.FormatBool(*v.to) }
func (v boolValue) Type() string   { return "true \\| false" }

type intValue struct {
	to          *int
	least, most int
}

func (v intValue) Set(text string) error {
	n, err := strconv.Atoi(text)
	if err != nil {
		return fmt.Errorf("%q is not an integer", text)
	}
	if n < v.least || n > v.most {
		return fmt.Errorf("%d is not from %d to %d", n, v.least, v.most)
	}
	*v.to = n
	return nil
}
func (v intValue) String() string { return strconv.Itoa(*v.to) }
func (v intValue) Type() string {
	if v.most == math.MaxInt {
		return fmt.Sprintf("integer ≥ %d", v.least)
	}
	return fmt.Sprintf("integer %d..%d", v.least, v.most)
}

type durationValue struct {
	to    *time.Duration
	least time.Duration
}

func (v durationValue) Set(text string) error {
	d, err := time.ParseDuration(text)
	if err != nil {
		return fmt.Errorf("%q is not a duration such as 250ms, 5s or 1h30m", text)
	}
	if d < v.least {
		return fmt.Errorf("%s is less than %s", text, v.least)
	}
	*v.to = d
	return nil
}

// String leaves out the zero minutes and seconds that time.Duration shows.
func (v durationValue) String() string {
	text := v.to.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
func (v durationValue) Type() string { return "duration ≥ " + durationValue{to: &v.least}.String() }

// Bytes is a number of bytes.
type Bytes int64

type bytesValue struct {
	to    *Bytes
	least Bytes
}

var byteUnits = []struct {
	name  string
	bytes int64
}{
	{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10},
	{"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"KB", 1e3}, {"B", 1},
}

func (v bytesValue) Set(text string) error {
	number, unit := strings.TrimSpace(text), int64(1)
	for _, u := range byteUnits {
		if rest, ok := strings.CutSuffix(number, u.name); ok {
			number, unit = strings.TrimSpace(rest), u.bytes
			break
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 0 || n > math.MaxInt64/unit {
		return fmt.Errorf("%q is not a size such as 64MiB, 10GB or 1048576", text)
	}
	if size := Bytes(n * unit); size < v.least {
		return fmt.Errorf("%s is less than %s", text, v.least)
	}
	*v.to = Bytes(n * unit)
	return nil
}
func (v bytesValue) String() string { return v.to.String() }
func (v bytesValue) Type() string   { return fmt.Sprintf("size ≥ %s", v.least) }

// String uses the largest binary unit that divides the size.
func (b Bytes) String() string {
	for _, u := range byteUnits[:4] {
		if b != 0 && int64(b)%u.bytes == 0 {
			return fmt.Sprintf("%d%s", int64(b)/u.bytes, u.name)
		}
	}
	return fmt.Sprintf("%dB", int64(b))
}

// items reads a comma list.
func items(text string) ([]string, error) {
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	list := strings.Split(text, ",")
	for i, item := range list {
		if list[i] = strings.TrimSpace(item); list[i] == "" {
			return nil, fmt.Errorf("%q has an empty item", text)
		}
	}
	return list, nil
}

// listValue is a comma list of texts.
type listValue struct{ to *[]string }

func (v listValue) Set(text string) error {
	list, err := items(text)
	if err != nil {
		return err
	}
	*v.to = list
	return nil
}
func (v listValue) String() string { return strings.Join(*v.to, ",") }
func (v listValue) Type() string   { return "comma list" }

// brokerIDAuto is the broker id that is taken from the host's name.
const brokerIDAuto = "auto"

func brokerID(text string) error {
	if text == brokerIDAuto {
		return nil
	}
	var n int
	if err := (intValue{&n, 0, math.MaxInt32}).Set(text); err != nil {
		return err
	}
	if text != strconv.Itoa(n) {
		return fmt.Errorf("%q is written %d", text, n)
	}
	return nil
}

// Listener is one address that Kafka clients connect to.
type Listener struct {
	Name string // PLAINTEXT
	Host string // a name or an address; "localhost" is both 127.0.0.1 and [::1]
	Port int    // 0: the system picks one
}

// Address is host:port.
func (l Listener) Address() string { return net.JoinHostPort(l.Host, strconv.Itoa(l.Port)) }

// String is NAME://host:port.
func (l Listener) String() string { return l.Name + "://" + l.Address() }

// Addresses are where to listen: two for localhost, else one.
func (l Listener) Addresses() []string { return Addresses(l.Host, l.Port) }

// Addresses spells out "localhost" as 127.0.0.1 and [::1], because clients
// resolve it to either, and leaves every other host as it is.
func Addresses(host string, port int) []string {
	p := strconv.Itoa(port)
	if host == "localhost" {
		return []string{net.JoinHostPort("127.0.0.1", p), net.JoinHostPort("::1", p)}
	}
	return []string{net.JoinHostPort(host, p)}
}

// Wildcard reports whether a host to listen on means every address.
func Wildcard(host string) bool {
	ip := net.ParseIP(host)
	return host == "" || (ip != nil && ip.IsUnspecified())
}

const plaintext = "PLAINTEXT"

var listenerNamesOfLater = []string{"SSL", "SASL_PLAINTEXT", "SASL_SSL"}

func parseListener(text string) (Listener, error) {
	name, address, named := strings.Cut(text, "://")
	if !named {
		name, address = plaintext, text
	}
	if slices.Contains(listenerNamesOfLater, name) {
		return Listener{}, fmt.Errorf("listener %s: this version serves %s only", text, plaintext)
	}
	if name != plaintext {
		return Listener{}, fmt.Errorf("listener %s: %q is no listener name; use %s", text, name, plaintext)
	}
	host, port, err := splitAddress(address)
	if err != nil {
		return Listener{}, err
	}
	return Listener{Name: name, Host: host, Port: port}, nil
}

// splitAddress reads host:port.
func splitAddress(address string) (string, int, error) {
	host, portText, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, fmt.Errorf("%q is not an address such as localhost:9092, 0.0.0.0:9092 or [::1]:0", address)
	}
	port, err := strconv.Atoi(portText)
	if err != nil || port < 0 || port > math.MaxUint16 {
		return "", 0, fmt.Errorf("%q: the port is not a number from 0 to %d", address, math.MaxUint16)
	}
	return host, port, nil
}

// listenersValue reads a comma list of [NAME://]host:port.
type listenersValue struct{ to *[]Listener }

func (v listenersValue) Set(text string) error {
	list, err := items(text)
	if err != nil {
		return err
	}
	*v.to = nil
	for _, item := range list {
		l, err := parseListener(item)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(*v.to, func(other Listener) bool { return other.Name == l.Name }) {
			return fmt.Errorf("listener %s is named twice", l.Name)
		}
		*v.to = append(*v.to, l)
	}
	return nil
}

func (v listenersValue) String() string {
	var texts []string
	for _, l := range *v.to {
		texts = append(texts, l.String())
	}
	return strings.Join(texts, ",")
}
func (v listenersValue) Type() string { return "comma list of \\[NAME://\\]host:port" }

// checkedText is text that is empty or passes a check.
type checkedText struct {
	to    *string
	kind  string
	check func(string) error
}

func (v checkedText) Set(text string) error {
	if text != "" {
		if err := v.check(text); err != nil {
			return err
		}
	}
	*v.to = text
	return nil
}
func (v checkedText) String() string { return *v.to }
func (v checkedText) Type() string   { return v.kind }

func clusterName(text string) error {
	for _, c := range text {
		if !('a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-' || c == '_' || 'A' <= c && c <= 'Z') {
			return fmt.Errorf("%q has the character %q; use letters, digits, - and _", text, c)
		}
	}
	if len(text) > 64 {
		return errors.New("it is longer than 64 characters")
	}
	return nil
}

// advertisedValue reads a comma list of [NAME://]host[:port].
type advertisedValue struct{ to *[]Listener }

func (v advertisedValue) Set(text string) error {
	list, err := items(text)
	if err != nil {
		return err
	}
	*v.to = nil
	for _, item := range list {
		address := item
		if _, after, named := strings.Cut(item, "://"); named {
			address = after
		}
		if _, _, err := net.SplitHostPort(address); err != nil {
			item += ":0" // a host alone
		}
		l, err := parseListener(item)
		if err != nil {
			return err
		}
		if Wildcard(l.Host) {
			return fmt.Errorf("%q is no address that a client could connect to", item)
		}
		*v.to = append(*v.to, l)
	}
	return nil
}

func (v advertisedValue) String() string {
	var texts []string
	for _, l := range *v.to {
		if l.Port == 0 {
			texts = append(texts, l.Name+"://"+l.Host)
			continue
		}
		texts = append(texts, l.String())
	}
	return strings.Join(texts, ",")
}
func (v advertisedValue) Type() string { return "comma list of \\[NAME://\\]host\\[:port\\]" }

// addressValue reads one address, or nothing: host:port to listen on, host[:port]
// to be reached at.
type addressValue struct {
	to   **Listener
	port bool // it is to listen on
}

func (v addressValue) Set(text string) error {
	*v.to = nil
	if text == "" {
		return nil
	}
	address := text
	if _, _, err := net.SplitHostPort(address); err != nil && !v.port {
		address = net.JoinHostPort(strings.Trim(address, "[]"), "0")
	}
	host, port, err := splitAddress(address)
	if err != nil {
		return err
	}
	if !v.port && Wildcard(host) {
		return fmt.Errorf("%q is no address that anybody could connect to", text)
	}
	*v.to = &Listener{Host: host, Port: port}
	return nil
}

func (v addressValue) String() string {
	switch l := *v.to; {
	case l == nil:
		return ""
	case !v.port && l.Port == 0:
		return l.Host
	default:
		return l.Address()
	}
}

func (v addressValue) Type() string {
	if v.port {
		return "host:port"
	}
	return "host\\[:port\\]"
}

// prefixesValue reads a comma list of addresses and networks.
type prefixesValue struct{ to *[]netip.Prefix }

func (v prefixesValue) Set(text string) error {
	list, err := items(text)
	if err != nil {
		return err
	}
	*v.to = nil
	for _, item := range list {
		prefix, err := netip.ParsePrefix(item)
		if address, failed := netip.ParseAddr(item); failed == nil && address.Zone() == "" {
			prefix, err = netip.PrefixFrom(address, address.BitLen()), nil
		}
		if err != nil {
			return fmt.Errorf("%q is no address or network such as 192.0.2.7 or 10.0.0.0/8", item)
		}
		*v.to = append(*v.to, prefix)
	}
	return nil
}

func (v prefixesValue) String() string {
	var texts []string
	for _, p := range *v.to {
		if p.IsSingleIP() {
			texts = append(texts, p.Addr().String())
			continue
		}
		texts = append(texts, p.String())
	}
	return strings.Join(texts, ",")
}
func (v prefixesValue) Type() string { return "comma list of addresses and networks" }

func faultPlan(text string) error {
	_, err := faults.ParsePlan(text)
	return err
}
