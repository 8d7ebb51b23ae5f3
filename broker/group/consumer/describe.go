package consumer

// Description is a group as the tools show it.
type Description struct {
	Phase           Phase
	Epoch           int32
	AssignmentEpoch int32
	Assignor        string
	Members         []MemberDescription
}

// MemberDescription is one member of a Description.
type MemberDescription struct {
	ID, InstanceID, Rack, ClientID, Host string
	Epoch                                int32
	Names                                []string
	Regex                                string
	Assigned, Target                     Assignment
	Classic                              bool
}

// Describe copies what the tools show.
func (s *State) Describe() Description {
	d := Description{
		Phase: s.Phase(), Epoch: s.epoch, AssignmentEpoch: s.assignmentEpoch,
		Assignor: s.assignor(), Members: make([]MemberDescription, len(s.members)),
	}
	for i, m := range s.members {
		d.Members[i] = MemberDescription{
			ID: m.ID, InstanceID: m.InstanceID, Rack: m.Rack, ClientID: m.ClientID, Host: m.Host, Epoch: m.Epoch,
			Names: m.Names(), Regex: m.Regex(), Assigned: m.Assigned, Target: s.target[m.ID], Classic: m.Classic != nil,
		}
	}
	return d
}
