package metastore

import "testing"

// FuzzQuotaKey: a key is either refused or the one spelling of its entity, and
// every entity comes back from its key.
func FuzzQuotaKey(f *testing.F) {
	f.Add("user/a/client-id/*", "a", "b")
	f.Add("ip/::1", "*", "")
	f.Add("client-id/%2A/user/b", "a/b", "%")
	f.Add("user", "user/x", "client-id")
	f.Fuzz(func(t *testing.T, rest, user, client string) {
		if e, err := parseQuota(rest); err == nil && quotaName(e) != rest {
			t.Fatalf("%q reads as %q", rest, quotaName(e))
		}
		for _, e := range []QuotaEntity{
			{User: QuotaNamed(user)}, {ClientID: QuotaNamed(client)}, {User: QuotaNamed(user), ClientID: QuotaNamed(client)}, {IP: QuotaNamed(user)},
		} {
			if back, err := parseQuota(quotaName(e)); err != nil || back != e {
				t.Fatalf("%+v is %q is %+v: %v", e, quotaName(e), back, err)
			}
		}
	})
}
