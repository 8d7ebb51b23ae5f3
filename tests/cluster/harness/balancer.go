package harness

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
)

// server is a line of HAProxy's configuration for one node, whose address is in
// the environment.
var server = regexp.MustCompile(`^\s*server (\w+)-(\d+) "\$\{([A-Z]+)_\d+\}"`)

// fitBalancer copies HAProxy's configuration for clusters of other sizes: of each
// kind of server, as many lines as there are nodes.
func fitBalancer(from, to string, nodes map[string]int) error {
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	var out strings.Builder
	for line := range strings.Lines(string(text)) {
		found := server.FindStringSubmatch(line)
		if found == nil {
			out.WriteString(line)
			continue
		}
		number, err := strconv.Atoi(found[2])
		if err != nil {
			return fmt.Errorf("read %s: %w", from, err)
		}
		want, known := nodes[found[3]]
		switch {
		case !known:
			return fmt.Errorf("%s has servers of an unknown kind: %s", from, strings.TrimSpace(line))
		case number != 1: // of which the others are copies
			continue
		}
		for i := range want {
			copied := strings.Replace(line, found[1]+"-1", fmt.Sprintf("%s-%d", found[1], i+1), 1)
			out.WriteString(strings.ReplaceAll(copied, found[3]+"_1", fmt.Sprintf("%s_%d", found[3], i+1)))
		}
	}
	return os.WriteFile(to, []byte(out.String()), 0o600)
}
