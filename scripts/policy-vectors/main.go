// Computes what buildx and OPA say of the cases in tests/parity/policies.json, and writes it into that file.
//
//	cd scripts/policy-vectors && go mod tidy && go run . ../../tests/parity/policies.json
//
// With `-openpgp` before the file, the cases of signatures of OpenPGP are made anew, for which gpg is needed.
//
// A case of `decisions` is evaluated by buildx's package `policy`, one of `rego` by OPA with the functions that buildx permits.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing/fstest"

	"github.com/docker/buildx/policy"
	gwpb "github.com/moby/buildkit/frontend/gateway/pb"
	"github.com/moby/buildkit/solver/pb"
	"github.com/moby/buildkit/sourcepolicy/policysession"
	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"
	digest "github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

type file struct {
	About     string      `json:"about"`
	Decisions []*decision `json:"decisions"`
	Rego      []*module   `json:"rego"`
}

// A question about a source, and the decision.
type decision struct {
	Name   string            `json:"name"`
	Policy string            `json:"policy"`
	Files  map[string]string `json:"files,omitempty"`
	Env    *env              `json:"env,omitempty"`
	Source source            `json:"source"`
	// What is known of the source if the policy asks. It is given in the second round.
	Known *known `json:"known,omitempty"`
	Want  result `json:"want"`
}

type env struct {
	Args     map[string]string `json:"args,omitempty"`
	Labels   map[string]string `json:"labels,omitempty"`
	Filename string            `json:"filename,omitempty"`
	Target   string            `json:"target,omitempty"`
}

type source struct {
	Identifier string            `json:"identifier"`
	Attrs      map[string]string `json:"attrs,omitempty"`
	Platform   string            `json:"platform,omitempty"`
}

type known struct {
	Digest       string            `json:"digest,omitempty"`
	Config       string            `json:"config,omitempty"`
	Attested     bool              `json:"attested,omitempty"`
	Provenance   map[string]string `json:"provenance,omitempty"`
	Checksum     string            `json:"checksum,omitempty"`
	Ref          string            `json:"ref,omitempty"`
	Commit       string            `json:"commit,omitempty"`
	CommitObject string            `json:"commitObject,omitempty"`
	TagObject    string            `json:"tagObject,omitempty"`
	// What a download consists of. Its digest is computed from it.
	Content string `json:"content,omitempty"`
}

type result struct {
	Action string   `json:"action,omitempty"`
	Deny   []string `json:"deny,omitempty"`
	Update string   `json:"update,omitempty"`
	Asks   bool     `json:"asks,omitempty"`
	Error  bool     `json:"error,omitempty"`
	// What buildx wants to be known, round by round.
	Rounds []string `json:"rounds,omitempty"`
}

type module struct {
	Name   string `json:"name"`
	Module string `json:"module"`
	Input  any    `json:"input,omitempty"`
	Want   struct {
		Value     any  `json:"value,omitempty"`
		Undefined bool `json:"undefined,omitempty"`
		Error     bool `json:"error,omitempty"`
	} `json:"want"`
}

func main() {
	path := os.Args[len(os.Args)-1]
	raw, err := os.ReadFile(path)
	check(err)
	var f file
	check(json.Unmarshal(raw, &f))
	if os.Args[1] == "-openpgp" {
		f.Decisions = slices.DeleteFunc(f.Decisions, func(d *decision) bool { return strings.HasPrefix(d.Name, pgpPrefix) })
		f.Decisions = append(f.Decisions, pgpCases()...)
	}
	f.Decisions = slices.DeleteFunc(f.Decisions, func(d *decision) bool { return strings.HasPrefix(d.Name, downloadPrefix) })
	f.Decisions = append(f.Decisions, downloadCases(f.Decisions)...)
	for _, d := range f.Decisions {
		d.Want = decide(d)
	}
	for _, m := range f.Rego {
		evaluate(m)
	}
	out, err := os.Create(path)
	check(err)
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", " ")
	check(enc.Encode(f))
	check(out.Close())
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func platform(text string) *pb.Platform {
	if text == "" {
		return nil
	}
	parts := strings.Split(text, "/")
	p := &pb.Platform{OS: parts[0], Architecture: parts[1]}
	if len(parts) > 2 {
		p.Variant = parts[2]
	}
	return p
}

func decide(d *decision) result {
	files := fstest.MapFS{}
	for name, text := range d.Files {
		files[name] = &fstest.MapFile{Data: []byte(text)}
	}
	opt := policy.Opt{
		Files:           []policy.File{{Filename: "policy.rego", Data: []byte(d.Policy)}},
		FS:              func() (fs.StatFS, func() error, error) { return files, nil, nil },
		DefaultPlatform: &ocispecs.Platform{OS: "linux", Architecture: "amd64"},
	}
	if d.Env != nil {
		opt.Env = policy.Env{Labels: d.Env.Labels, Filename: d.Env.Filename, Target: d.Env.Target}
		for k, v := range d.Env.Args {
			if opt.Env.Args == nil {
				opt.Env.Args = map[string]*string{}
			}
			opt.Env.Args[k] = &v
		}
	}
	p := policy.NewPolicy(opt)
	if d.Policy == "builtin" {
		p = policy.DefaultPolicy(opt)
	}
	src := &gwpb.ResolveSourceMetaResponse{Source: &pb.SourceOp{Identifier: d.Source.Identifier, Attrs: d.Source.Attrs}}
	var res result
	for round := 0; round < 6; round++ {
		resp, next, err := p.CheckPolicy(context.Background(), &policysession.CheckPolicyRequest{Platform: platform(d.Source.Platform), Source: src})
		if err != nil {
			res.Error = true
			return res
		}
		if next == nil {
			res.Action = resp.Action.String()
			for _, m := range resp.DenyMessages {
				res.Deny = append(res.Deny, m.Message)
			}
			slices.Sort(res.Deny)
			if resp.Update != nil {
				res.Update = resp.Update.Identifier
			}
			return res
		}
		res.Rounds = append(res.Rounds, shown(next))
		if d.Known == nil {
			res.Asks = true
			return res
		}
		src = answer(d, next)
	}
	res.Error = true
	return res
}

func shown(next *gwpb.ResolveSourceMetaRequest) string {
	var parts []string
	if next.Image != nil {
		parts = append(parts, fmt.Sprintf("image config=%t attestations=%t content=%t", !next.Image.NoConfig, next.Image.AttestationChain, len(next.Image.ResolveAttestations) > 0))
	}
	if next.Git != nil {
		parts = append(parts, fmt.Sprintf("git objects=%t", next.Git.ReturnObject))
	}
	if next.HTTP != nil && next.HTTP.ChecksumRequest != nil {
		parts = append(parts, fmt.Sprintf("http digest=%s suffix=%x", next.HTTP.ChecksumRequest.Algo, next.HTTP.ChecksumRequest.Suffix))
	}
	if len(parts) == 0 {
		return "source"
	}
	return strings.Join(parts, "; ")
}

func answer(d *decision, next *gwpb.ResolveSourceMetaRequest) *gwpb.ResolveSourceMetaResponse {
	k := d.Known
	src := &gwpb.ResolveSourceMetaResponse{Source: next.Source}
	switch {
	case strings.HasPrefix(d.Source.Identifier, "docker-image://"):
		image := &gwpb.ResolveSourceImageResponse{Digest: k.Digest}
		if next.Image != nil && !next.Image.NoConfig {
			image.Config = []byte(k.Config)
		}
		if next.Image != nil && next.Image.AttestationChain {
			chain := &gwpb.AttestationChain{Blobs: map[string]*gwpb.Blob{}}
			if k.Attested {
				chain.AttestationManifest = "sha256:" + strings.Repeat("b", 64)
			}
			if len(next.Image.ResolveAttestations) > 0 {
				for kind, text := range k.Provenance {
					chain.Blobs[kind] = &gwpb.Blob{
						Descriptor_: &gwpb.Descriptor{Annotations: map[string]string{"in-toto.io/predicate-type": kind}},
						Data:        []byte(text),
					}
				}
			}
			image.AttestationChain = chain
		}
		src.Image = image
	case strings.HasPrefix(d.Source.Identifier, "git://"):
		src.Git = &gwpb.ResolveSourceGitResponse{Ref: k.Ref, Checksum: k.Checksum, CommitChecksum: k.Commit}
		if next.Git != nil && next.Git.ReturnObject {
			src.Git.CommitObject = []byte(k.CommitObject)
			src.Git.TagObject = []byte(k.TagObject)
		}
	default:
		src.HTTP = &gwpb.ResolveSourceHTTPResponse{Checksum: k.Checksum}
		if next.HTTP != nil && next.HTTP.ChecksumRequest != nil {
			algo := map[gwpb.ChecksumRequest_ChecksumAlgo]digest.Algorithm{
				gwpb.ChecksumRequest_CHECKSUM_ALGO_SHA256: digest.SHA256,
				gwpb.ChecksumRequest_CHECKSUM_ALGO_SHA384: digest.SHA384,
				gwpb.ChecksumRequest_CHECKSUM_ALGO_SHA512: digest.SHA512,
			}[next.HTTP.ChecksumRequest.Algo]
			suffix := next.HTTP.ChecksumRequest.Suffix
			src.HTTP.ChecksumResponse = &gwpb.ChecksumResponse{Digest: algo.FromString(k.Content + string(suffix)).String(), Suffix: suffix}
		}
	}
	return src
}

func evaluate(m *module) {
	m.Want.Value, m.Want.Undefined, m.Want.Error = nil, false, false
	caps := ast.CapabilitiesForThisVersion()
	permitted := caps.Builtins[:0]
	for _, b := range caps.Builtins {
		if !slices.ContainsFunc([]string{"http.", "net.", "opa.", "crypto.", "io.", "graph.", "graphql.", "rego.", "providers."}, func(prefix string) bool {
			return strings.HasPrefix(b.Name, prefix)
		}) {
			permitted = append(permitted, b)
		}
	}
	caps.Builtins = permitted
	r := rego.New(
		rego.SetRegoVersion(ast.RegoV1),
		rego.Query("data.t.x"),
		rego.Capabilities(caps),
		rego.Module("m.rego", "package t\n"+m.Module),
		rego.Input(m.Input),
	)
	rs, err := r.Eval(context.Background())
	switch {
	case err != nil:
		m.Want.Error = true
	case len(rs) == 0:
		m.Want.Undefined = true
	default:
		m.Want.Value = rs[0].Expressions[0].Value
	}
}
