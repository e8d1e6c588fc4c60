package main

import (
	"fmt"
	"strings"

	digest "github.com/opencontainers/go-digest"
)

// Names of cases of signatures of downloads begin with this.
const downloadPrefix = "download: "

// Makes a case of a signed download of each case of a signed commit: the file is what was signed.
func downloadCases(decisions []*decision) []*decision {
	var cases []*decision
	for _, d := range decisions {
		name, found := strings.CutPrefix(d.Name, pgpPrefix)
		if !found || d.Known.TagObject != "" || !strings.Contains(d.Policy, "verify_git_signature") {
			continue
		}
		content, signature := signedContent(d.Known.CommitObject)
		keys := d.Files["keys.asc"]
		cases = append(cases, downloadCase(name, keys, signature, content))
		if name == "ed25519" {
			cases = append(cases, downloadVariants(keys, signature, content)...)
		}
	}
	return cases
}

// Cases that have no counterpart among those of commits.
func downloadVariants(keys, signature, content string) []*decision {
	changed := downloadCase("another file", keys, signature, content+"x")
	absent := downloadCase("no file of the signature", keys, signature, content)
	delete(absent.Files, "file.asc")
	keyless := downloadCase("no file of the keys", keys, signature, content)
	delete(keyless.Files, "keys.asc")
	with := func(name, rule string) *decision {
		d := downloadCase(name, keys, signature, content)
		d.Policy = fmt.Sprintf("package docker\n\ndefault allow := false\n\n%s\n\ndecision := {\"allow\": allow}\n", rule)
		return d
	}
	return []*decision{
		changed, absent, keyless,
		with("the checksum and a signature", `allow if {
	startswith(input.http.checksum, "sha256:")
	verify_http_pgp_signature(input.http, "file.asc", "keys.asc")
}`),
		with("a signature, then the checksum", `allow if {
	verify_http_pgp_signature(input.http, "file.asc", "keys.asc")
	startswith(input.http.checksum, "sha256:")
}`),
		with("not signed", `allow if not verify_http_pgp_signature(input.http, "file.asc", "keys.asc")`),
		with("the value of a signature", `allow if verify_http_pgp_signature(input.http, "file.asc", "keys.asc") == true`),
		with("a part of the source", `allow if verify_http_pgp_signature(input.http.host, "file.asc", "keys.asc")`),
		with("another source", `allow if verify_http_pgp_signature({"host": "example.com"}, "file.asc", "keys.asc")`),
		with("a signature that is not looked at", `allow if { input.http.host == "example.com" } else := verify_http_pgp_signature(input.http, "file.asc", "keys.asc")`),
	}
}

// What a signed commit's signature is about, and the signature.
func signedContent(commit string) (content, signature string) {
	inSignature := false
	head, message, _ := strings.Cut(commit, "\n\n")
	for _, line := range strings.Split(head, "\n") {
		first, isFirst := strings.CutPrefix(line, "gpgsig ")
		inSignature = isFirst || inSignature && strings.HasPrefix(line, " ")
		switch {
		case isFirst:
			signature = first + "\n"
		case inSignature:
			signature += line[1:] + "\n"
		default:
			content += line + "\n"
		}
	}
	return content + "\n" + message, signature
}

func downloadCase(name, keys, signature, content string) *decision {
	return &decision{
		Name:   downloadPrefix + name,
		Policy: "package docker\n\ndefault allow := false\n\nallow if verify_http_pgp_signature(input.http, \"file.asc\", \"keys.asc\")\n\ndecision := {\"allow\": allow}\n",
		Files:  map[string]string{"keys.asc": keys, "file.asc": signature},
		Source: source{Identifier: "https://example.com/file"},
		Known:  &known{Checksum: digest.FromString(content).String(), Content: content},
	}
}
