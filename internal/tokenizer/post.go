package tokenizer

import (
	"encoding/json"
	"fmt"
)

// parsePost reads which tokens go before and after those of a single text.
func parsePost(text json.RawMessage) (prefix, suffix []int32, err error) {
	if absent(text) {
		return nil, nil, nil
	}
	name, err := kind(text)
	if err != nil {
		return nil, nil, err
	}
	switch name {
	case "ByteLevel": // trims offsets, which are not kept here
		return nil, nil, nil
	case "Sequence":
		return parsePosts(text)
	case "BertProcessing", "RobertaProcessing":
		var p struct {
			Sep pair `json:"sep"`
			Cls pair `json:"cls"`
		}
		if err := json.Unmarshal(text, &p); err != nil {
			return nil, nil, err
		}
		return []int32{p.Cls.id}, []int32{p.Sep.id}, nil
	case "TemplateProcessing":
		return parseTemplate(text)
	}
	return nil, nil, fmt.Errorf("post-processor %q: %w", name, ErrUnsupported)
}

func parsePosts(text json.RawMessage) (prefix, suffix []int32, err error) {
	var s struct {
		Processors []json.RawMessage `json:"processors"`
	}
	if err := json.Unmarshal(text, &s); err != nil {
		return nil, nil, err
	}
	for _, part := range s.Processors {
		before, after, err := parsePost(part)
		if err != nil {
			return nil, nil, err
		}
		prefix, suffix = append(before, prefix...), append(suffix, after...)
	}
	return prefix, suffix, nil
}

// pair is ["[SEP]", 102].
type pair struct{ id int32 }

func (p *pair) UnmarshalJSON(text []byte) error {
	var parts []json.RawMessage
	if err := json.Unmarshal(text, &parts); err != nil {
		return err
	}
	if len(parts) != 2 {
		return fmt.Errorf("%s is not a token and its id", text)
	}
	return json.Unmarshal(parts[1], &p.id)
}

func parseTemplate(text json.RawMessage) (prefix, suffix []int32, err error) {
	type piece struct {
		ID   string `json:"id"`
		Type int    `json:"type_id"`
	}
	var p struct {
		Single []struct {
			Special  *piece `json:"SpecialToken"`
			Sequence *piece `json:"Sequence"`
		} `json:"single"`
		Special map[string]struct {
			IDs []int32 `json:"ids"`
		} `json:"special_tokens"`
	}
	if err := json.Unmarshal(text, &p); err != nil {
		return nil, nil, err
	}
	seen := false // the text's own place
	for _, part := range p.Single {
		switch {
		case part.Sequence != nil && !seen && part.Sequence.Type == 0:
			seen = true
		case part.Special != nil && part.Special.Type == 0:
			special, ok := p.Special[part.Special.ID]
			if !ok {
				return nil, nil, fmt.Errorf("the template names %q, which is not among its tokens", part.Special.ID)
			}
			if seen {
				suffix = append(suffix, special.IDs...)
			} else {
				prefix = append(prefix, special.IDs...)
			}
		default:
			return nil, nil, fmt.Errorf("a template with types or with a text twice: %w", ErrUnsupported)
		}
	}
	if !seen {
		return nil, nil, fmt.Errorf("a template without the text: %w", ErrUnsupported)
	}
	return prefix, suffix, nil
}
