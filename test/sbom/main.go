// Command sbom writes what a Go program is made of, as SPDX 2.3 in JSON, to stdout.
//
// What enters: the program, which has the versions and checksums of its modules in it;
// nothing else is asked, so the list is of what was built, not of what go.mod allows.
package main

import (
	"debug/buildinfo"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strings"
	"time"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "sbom:", err)
		os.Exit(1)
	}
}

func run(args []string, out io.Writer) error {
	flags := flag.NewFlagSet("sbom", flag.ContinueOnError)
	version := flags.String("version", "devel", "version of the program")
	created := flags.String("created", "1970-01-01T00:00:00Z", "time of the document: RFC 3339, in UTC")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() != 1 {
		return errors.New("want one program")
	}
	if t, err := time.Parse("2006-01-02T15:04:05Z", *created); err != nil || t.IsZero() {
		return fmt.Errorf("-created: want a time such as 2026-01-31T12:00:00Z, got %q", *created)
	}
	info, err := buildinfo.ReadFile(flags.Arg(0))
	if err != nil {
		return err
	}
	d, err := describe(info, *version, *created)
	if err != nil {
		return err
	}
	e := json.NewEncoder(out)
	e.SetIndent("", " ")
	return e.Encode(d)
}

type document struct {
	Version       string         `json:"spdxVersion"`
	License       string         `json:"dataLicense"`
	ID            string         `json:"SPDXID"`
	Name          string         `json:"name"`
	Namespace     string         `json:"documentNamespace"`
	Creation      creation       `json:"creationInfo"`
	Packages      []pkg          `json:"packages"`
	Relationships []relationship `json:"relationships"`
}

type creation struct {
	Created  string   `json:"created"`
	Creators []string `json:"creators"`
}

type pkg struct {
	ID        string     `json:"SPDXID"`
	Name      string     `json:"name"`
	Version   string     `json:"versionInfo"`
	Location  string     `json:"downloadLocation"`
	Analyzed  bool       `json:"filesAnalyzed"`
	Declared  string     `json:"licenseDeclared"`
	Concluded string     `json:"licenseConcluded"`
	Copyright string     `json:"copyrightText"`
	Checksums []checksum `json:"checksums,omitempty"`
	Refs      []ref      `json:"externalRefs"`
}

type checksum struct {
	Algorithm string `json:"algorithm"`
	Value     string `json:"checksumValue"`
}

type ref struct {
	Category string `json:"referenceCategory"`
	Type     string `json:"referenceType"`
	Locator  string `json:"referenceLocator"`
}

type relationship struct {
	Element string `json:"spdxElementId"`
	Type    string `json:"relationshipType"`
	Related string `json:"relatedSpdxElement"`
}

const none = "NOASSERTION"

func describe(info *debug.BuildInfo, version, created string) (document, error) {
	arch := ""
	for _, s := range info.Settings {
		if s.Key == "GOARCH" {
			arch = s.Value
		}
	}
	d := document{
		Version: "SPDX-2.3", License: "CC0-1.0", ID: "SPDXRef-DOCUMENT", Name: "eyas-" + version + "-" + arch,
		Namespace: "https://" + info.Main.Path + "/sbom/" + version + "/" + arch,
		Creation:  creation{created, []string{"Tool: " + info.Main.Path + "/test/sbom"}},
	}
	eyas := module("SPDXRef-eyas", info.Main.Path, version)
	eyas.Declared = "Apache-2.0 AND GPL-2.0-only" // the latter: BPF programs
	std := module("SPDXRef-std", "std", strings.TrimPrefix(info.GoVersion, "go"))
	std.Declared = "BSD-3-Clause"
	d.Packages = []pkg{eyas, std}
	for i, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		p := module(fmt.Sprintf("SPDXRef-module-%d", i), m.Path, m.Version)
		sum, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(m.Sum, "h1:"))
		if err != nil || len(sum) != 32 {
			return d, fmt.Errorf("module %s %s: its checksum is %q, want h1: and SHA-256", m.Path, m.Version, m.Sum)
		}
		// Of the list of its files, as go.sum has it: not of one file.
		p.Checksums = []checksum{{"SHA256", hex.EncodeToString(sum)}}
		d.Packages = append(d.Packages, p)
	}
	d.Relationships = []relationship{{d.ID, "DESCRIBES", eyas.ID}}
	for _, p := range d.Packages[1:] {
		d.Relationships = append(d.Relationships, relationship{eyas.ID, "DEPENDS_ON", p.ID})
	}
	return d, nil
}

func module(id, path, version string) pkg {
	return pkg{
		ID: id, Name: path, Version: version, Location: none, Declared: none, Concluded: none, Copyright: none,
		Refs: []ref{{"PACKAGE-MANAGER", "purl", "pkg:golang/" + path + "@" + version}},
	}
}
