package embedder

import (
	"net/url"
	"strings"
)

// keyFor is the key that a URL is asked with: none for one that only a topic
// names, see Config.APIKey.
func (c *Config) keyFor(to *url.URL) string {
	for _, trusted := range append([]string{c.OpenAIBaseURL, c.Endpoint}, c.TrustedEndpoints...) {
		if trusted == "*" || trusted != "" && below(to, trusted) {
			return c.APIKey
		}
	}
	return ""
}

// below reports whether a URL is another one, or further down its path.
func below(to *url.URL, trusted string) bool {
	t, err := url.Parse(trusted)
	if err != nil || t.Scheme != to.Scheme || t.Host == "" || t.Host != to.Host {
		return false
	}
	path := strings.TrimSuffix(t.Path, "/")
	return to.Path == path || strings.HasPrefix(to.Path, path+"/") && !strings.Contains(to.Path, "..")
}
