package group

import (
	"fmt"
	"testing"
	"time"
)

// BenchmarkRebalance is a whole rebalance of a large group: all join, the leader
// assigns, all fetch, and all send a heartbeat.
func BenchmarkRebalance(b *testing.B) {
	for _, n := range []int{500, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s := NewState(Limits{SessionTimeoutMin: time.Second, SessionTimeoutMax: time.Hour, MembersMax: 10_000, InitialDelay: time.Second})
			request := JoinRequest{
				ProtocolType: "consumer", SessionTimeout: time.Minute, RebalanceTimeout: time.Minute,
				Protocols: []Protocol{{Name: "range", Metadata: make([]byte, 60)}, {Name: "cooperative-sticky", Metadata: make([]byte, 60)}},
			}
			now := start
			ids := make([]string, n)
			for i := range ids {
				ids[i] = fmt.Sprintf("consumer-group-%d-9f2a5cc1a2a48ee14d1b", i)
				request.MemberID, request.NewMemberID = "", ids[i]
				s.Join(now, request, make(Ticket, 1))
			}
			s.Take()
			now = now.Add(time.Second)
			s.Expire(now)
			now = now.Add(time.Second)
			s.Expire(now)
			if len(s.Take()) != n {
				b.Fatal("not all have joined")
			}
			for b.Loop() {
				s.Join(now, JoinRequest{
					MemberID: s.leader, ProtocolType: "consumer", SessionTimeout: time.Minute, RebalanceTimeout: time.Minute, Protocols: request.Protocols[:1],
				}, make(Ticket, 1))
				for _, id := range ids {
					if id != s.leader {
						request.MemberID = id
						s.Join(now, request, make(Ticket, 1))
						s.Next()
					}
				}
				if len(s.Take()) != n {
					b.Fatal("not all have joined again")
				}
				assignments := make(map[string][]byte, n)
				for _, id := range ids {
					assignments[id] = make([]byte, 40)
				}
				for _, id := range ids {
					r := SyncRequest{MemberID: id, Generation: s.generation}
					if id == s.leader {
						r.Assignments = assignments
					}
					s.Sync(now, r, make(Ticket, 1))
					s.Next()
				}
				if len(s.Take()) != n {
					b.Fatal("not all have fetched")
				}
				for _, id := range ids {
					if err := s.Heartbeat(now, id, "", s.generation); err != nil {
						b.Fatal(err)
					}
					s.Next()
				}
				s.Durable()
				// The leader's change of protocols makes the next one.
				request.Protocols[0], request.Protocols[1] = request.Protocols[1], request.Protocols[0]
				request.Protocols = []Protocol{request.Protocols[1], request.Protocols[0]}
			}
		})
	}
}
