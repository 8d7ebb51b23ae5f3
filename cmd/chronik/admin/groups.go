package admin

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

// groupSummary is a consumer group in a list.
type groupSummary struct {
	Group    string `json:"group_id"`
	State    string `json:"state"`
	Protocol string `json:"protocol_type"`
}

func (s *Surface) groups(w http.ResponseWriter, r *http.Request) {
	list := []groupSummary{}
	err := s.asBroker(r.Context(), func(ctx context.Context, client *kadm.Client) error {
		listed, err := client.ListGroups(ctx)
		for _, g := range listed.Sorted() {
			list = append(list, groupSummary{g.Group, g.State, g.ProtocolType})
		}
		return err
	})
	if err != nil {
		s.fail(w, r, failureOf(err, ""))
		return
	}
	answer(w, http.StatusOK, map[string]any{"groups": list, "count": len(list)})
}

// groupOffset is how far a group is in a partition.
type groupOffset struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Committed int64  `json:"committed_offset"` // -1: none
	End       int64  `json:"log_end_offset"`
	Lag       int64  `json:"lag"` // -1: not known
	Member    string `json:"member_id,omitempty"`
	Client    string `json:"client_id,omitempty"`
	Host      string `json:"host,omitempty"`
}

// group shows how far a group is, and who reads what.
func (s *Surface) group(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("group")
	var shown struct {
		Group    string        `json:"group_id"`
		State    string        `json:"state"`
		Protocol string        `json:"protocol"`
		Members  int           `json:"members"`
		Lag      int64         `json:"total_lag"`
		Offsets  []groupOffset `json:"offsets"`
	}
	err := s.asBroker(r.Context(), func(ctx context.Context, client *kadm.Client) error {
		lags, err := client.Lag(ctx, name)
		if err != nil {
			return err
		}
		lag, ok := lags[name]
		if !ok || lag.State == "Dead" {
			return kerr.GroupIDNotFound
		}
		if err := lag.Error(); err != nil {
			return err
		}
		shown.Group, shown.State, shown.Protocol, shown.Members, shown.Lag = name, lag.State, lag.Protocol, len(lag.Members), lag.Lag.Total()
		shown.Offsets = []groupOffset{}
		for _, l := range lag.Lag.Sorted() {
			line := groupOffset{Topic: l.Topic, Partition: l.Partition, Committed: l.Commit.At, End: l.End.Offset, Lag: l.Lag}
			if l.Member != nil {
				line.Member, line.Client, line.Host = l.Member.MemberID, l.Member.ClientID, strings.TrimPrefix(l.Member.ClientHost, "/")
			}
			shown.Offsets = append(shown.Offsets, line)
		}
		return nil
	})
	if err != nil {
		s.fail(w, r, failureOf(err, ""))
		return
	}
	slices.SortStableFunc(shown.Offsets, func(a, b groupOffset) int { return strings.Compare(a.Topic, b.Topic) })
	answer(w, http.StatusOK, shown)
}
