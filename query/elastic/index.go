package elastic

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/gin-gonic/gin"
)

// exists answers whether all indexes are there, without a body.
func (c *call) exists() error {
	x, err := c.expansion()
	if err != nil {
		return err
	}
	c.harmless("local", "flat_settings", "include_defaults")
	x.allowNone = false
	if _, err := c.topics(c.Param("index"), x); err != nil {
		return err
	}
	return c.answer(http.StatusOK, func(*writer) {})
}

// describe answers what an index is: its settings and its fields.
func (c *call) describe() error {
	if features := c.text("features", ""); features != "" {
		return badRequest("URL parameter [features] is not supported")
	}
	found, fields, err := c.fields()
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, func(w *writer) {
		w.object(func() {
			for _, t := range found {
				w.name(t.Name)
				w.object(func() {
					w.member("aliases", gin.H{})
					writeMappings(w, t, fields[t.Name])
					writeSettings(w, t)
				})
			}
		})
	})
}

// settings answers the settings of indexes.
func (c *call) settings() error {
	x, err := c.expansion()
	if err != nil {
		return err
	}
	c.harmless("local", "master_timeout", "include_defaults")
	if err := c.never("flat_settings"); err != nil {
		return err
	}
	found, err := c.topics(c.Param("index"), x)
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, func(w *writer) {
		w.object(func() {
			for _, t := range found {
				w.name(t.Name)
				w.object(func() { writeSettings(w, t) })
			}
		})
	})
}

func writeSettings(w *writer, t Topic) {
	w.name("settings")
	w.object(func() {
		w.name("index")
		w.object(func() {
			w.member("number_of_shards", strconv.Itoa(t.Partitions))
			w.member("number_of_replicas", "0")
			w.member("uuid", t.ID)
			w.member("provided_name", t.Name)
		})
	})
}

// remove deletes topics, which are named: a pattern might be more than was meant.
func (c *call) remove() error {
	expression := c.Param("index")
	x, err := c.expansion()
	if err != nil {
		return err
	}
	c.harmless("master_timeout", "timeout")
	if err := c.rest(c.Request.URL.Path); err != nil {
		return err
	}
	if strings.Contains(expression, "*") || expression == "_all" {
		return badRequest("Wildcard expressions or all indices are not allowed")
	}
	found, err := c.topics(expression, x)
	if err != nil {
		return err
	}
	ctx := c.Request.Context()
	for _, t := range found {
		if err := c.surface.o.Backend.DeleteTopic(ctx, t.Name); err != nil {
			return err
		}
	}
	if err := c.surface.o.Backend.CatchUp(ctx); err != nil {
		return err
	}
	return c.answer(http.StatusOK, func(w *writer) { w.object(func() { w.member("acknowledged", true) }) })
}

// refresh has nothing to do: what is acknowledged is found by the next search.
func (c *call) refresh() error {
	x, err := c.expansion()
	if err != nil {
		return err
	}
	c.harmless("force", "wait_if_ongoing")
	found, err := c.topics(c.Param("index"), x)
	if err != nil {
		return err
	}
	shards := 0
	for _, t := range found {
		shards += t.Partitions
	}
	return c.answer(http.StatusOK, func(w *writer) {
		w.object(func() {
			w.name("_shards")
			w.object(func() {
				w.member("total", shards)
				w.member("successful", shards)
				w.member("failed", 0)
			})
		})
	})
}
