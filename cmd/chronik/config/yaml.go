package config

import (
	"errors"
	"fmt"
	"strings"

	"gopkg.in/yaml.v3"
)

// assignment is one value of a YAML file.
type assignment struct {
	key, value string
	line       int
}

// flatten reads YAML and joins nested keys with dots, in the order of the file.
// A list of values becomes a comma list.
func flatten(text []byte) ([]assignment, error) {
	var document yaml.Node
	if err := yaml.Unmarshal(text, &document); err != nil {
		return nil, fmt.Errorf("read YAML: %w", err)
	}
	if len(document.Content) == 0 {
		return nil, nil // empty, or comments only
	}
	root := document.Content[0]
	if root.Kind != yaml.MappingNode {
		return nil, errors.New("the file is not a YAML mapping of keys to values")
	}
	return flattenMapping(root, "")
}

func flattenMapping(mapping *yaml.Node, prefix string) ([]assignment, error) {
	var list []assignment
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		key, node := prefix+mapping.Content[i].Value, mapping.Content[i+1]
		switch node.Kind {
		case yaml.MappingNode:
			inner, err := flattenMapping(node, key+".")
			if err != nil {
				return nil, err
			}
			list = append(list, inner...)
		case yaml.SequenceNode:
			items := make([]string, 0, len(node.Content))
			for _, item := range node.Content {
				if item.Kind != yaml.ScalarNode {
					return nil, fmt.Errorf("line %d: %s: a list holds plain values only", item.Line, key)
				}
				items = append(items, item.Value)
			}
			list = append(list, assignment{key, strings.Join(items, ","), node.Line})
		case yaml.ScalarNode:
			value := node.Value
			if node.Tag == "!!null" {
				value = ""
			}
			list = append(list, assignment{key, value, mapping.Content[i].Line})
		default:
			return nil, fmt.Errorf("line %d: %s: aliases are not supported", node.Line, key)
		}
	}
	return list, nil
}
