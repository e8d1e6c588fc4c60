package main

import (
	"bytes"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// The beginning of the names of cases that are made here.
const pgpPrefix = "OpenPGP: "

// A directory of gpg with keys that are made for the cases and thrown away. Times are given, so keys can expire.
type gpgHome struct{ dir string }

func (g gpgHome) run(when, stdin string, args ...string) string {
	all := []string{"--homedir", g.dir, "--batch", "--yes", "--no-tty", "--pinentry-mode", "loopback", "--passphrase", "", "--trust-model", "always",
		"--allow-weak-digest-algos", "--faked-system-time", when + "T000000"}
	cmd := exec.Command("gpg", append(all, args...)...)
	cmd.Stdin = strings.NewReader(stdin)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		check(fmt.Errorf("gpg %v: %w: %s", args, err, errs.String()))
	}
	return string(out)
}

func (g gpgHome) generate(when, name, algo, usage, expire string, more ...string) {
	g.run(when, "", append(append([]string{}, more...), "--quick-generate-key", name+" <"+name+"@example.com>", algo, usage, expire)...)
}

func (g gpgHome) fingerprint(name string) string {
	for _, line := range strings.Split(g.run("20260101", "", "--with-colons", "--list-keys", name+"@example.com"), "\n") {
		if fields := strings.Split(line, ":"); fields[0] == "fpr" {
			return fields[9]
		}
	}
	panic("no key " + name)
}

func (g gpgHome) subkey(name string, at int) string {
	var found []string
	for _, line := range strings.Split(g.run("20260101", "", "--with-colons", "--list-keys", name+"@example.com"), "\n") {
		if fields := strings.Split(line, ":"); fields[0] == "fpr" {
			found = append(found, fields[9])
		}
	}
	return found[at]
}

func (g gpgHome) export(names ...string) string {
	args := []string{"--armor", "--export"}
	for _, name := range names {
		args = append(args, name+"@example.com")
	}
	return g.run("20260101", "", args...)
}

func (g gpgHome) sign(when, signer, text string, more ...string) string {
	args := append([]string{"--armor", "--detach-sign", "--local-user", signer}, more...)
	return g.run(when, text, args...)
}

// Revokes a key or, with at, a subkey, for a reason of gpg's menu: 0 none, 1 compromised, 2 superseded, 3 no longer used.
func (g gpgHome) revoke(when, name, reason string, at int) {
	edit := fmt.Sprintf("revkey\ny\n%s\n\ny\nsave\n", reason)
	if at > 0 {
		edit = fmt.Sprintf("key %d\nrevkey\ny\n%s\n\ny\nsave\n", at, reason)
	}
	g.run(when, edit, "--command-fd", "0", "--status-fd", "2", "--edit-key", name+"@example.com")
}

// The tree has the file `file` with the content `text`, as in tests/live/policies/signatures.rs.
const commitBody = "tree 665b0227401e3aad9c04183cc88aba65290c08d1\nauthor Ann <ann@example.com> 1738368000 +0000\ncommitter Ann <ann@example.com> 1738368000 +0000\n\nsigned\n"

func objectID(kind, object string) string {
	sum := sha1.Sum([]byte(fmt.Sprintf("%s %d\x00%s", kind, len(object), object)))
	return hex.EncodeToString(sum[:])
}

func signedCommit(body, signature string) string {
	head, message, _ := strings.Cut(body, "\n\n")
	lines := strings.ReplaceAll(strings.TrimSuffix(signature, "\n"), "\n", "\n ")
	return head + "\ngpgsig " + lines + "\n\n" + message
}

func pgpCase(name, keys, signature string) *decision {
	commit := signedCommit(commitBody, signature)
	return pgpDecision(name, "input.git.commit", keys, commit, "")
}

func pgpDecision(name, object, keys, commit, tag string) *decision {
	d := &decision{
		Name:   pgpPrefix + name,
		Policy: fmt.Sprintf("package docker\n\ndefault allow := false\n\nallow if verify_git_signature(%s, \"keys.asc\")\n\ndecision := {\"allow\": allow}\n", object),
		Files:  map[string]string{"keys.asc": keys},
		Source: source{Identifier: "git://github.com/o/r.git#v1"},
		Known:  &known{Ref: "refs/heads/v1", Commit: objectID("commit", commit), CommitObject: commit},
	}
	d.Known.Checksum = d.Known.Commit
	if tag != "" {
		d.Known.Ref, d.Known.Checksum, d.Known.TagObject = "refs/tags/v1", objectID("tag", tag), tag
	}
	return d
}

// Makes the cases of signatures of OpenPGP anew, with gpg 2.2.
func pgpCases() []*decision {
	dir, err := os.MkdirTemp("", "gpg")
	check(err)
	defer os.RemoveAll(dir)
	check(os.Chmod(dir, 0o700))
	check(os.WriteFile(filepath.Join(dir, "gpg.conf"), []byte("no-emit-version\n"), 0o600))
	g := gpgHome{dir}
	defer exec.Command("gpgconf", "--homedir", dir, "--kill", "all").Run()
	var cases []*decision
	add := func(name, keys, signature string) { cases = append(cases, pgpCase(name, keys, signature)) }
	const early, made, late = "20250101", "20250201", "20250601"
	for _, algo := range []string{"rsa2048", "rsa4096", "ed25519", "nistp256", "nistp384", "nistp521", "secp256k1", "brainpoolP256r1", "rsa1024", "dsa2048"} {
		g.generate(early, algo, algo, "sign,cert", "0")
		add(algo, g.export(algo), g.sign(made, algo, commitBody))
	}
	good := g.sign(made, "ed25519", commitBody)
	for _, algo := range []string{"SHA1", "RIPEMD160", "SHA224", "SHA384", "SHA512"} {
		add("a digest of "+algo, g.export("rsa2048"), g.sign(made, "rsa2048", commitBody, "--digest-algo", algo))
	}
	g.generate(early, "weakself", "rsa2048", "sign,cert", "0", "--cert-digest-algo", "SHA1")
	add("a key that signs itself with SHA-1", g.export("weakself"), g.sign(made, "weakself", commitBody))
	add("another key", g.export("rsa2048"), good)
	add("another object", g.export("ed25519"), g.sign(made, "ed25519", commitBody+"more\n"))
	add("text", g.export("ed25519"), g.sign(made, "ed25519", commitBody, "--textmode"))
	add("a signature that has expired", g.export("ed25519"), g.sign(made, "ed25519", commitBody, "--default-sig-expire", "1d"))
	add("a signature of the future", g.export("ed25519"), g.sign("21000101", "ed25519", commitBody))
	add("a critical note", g.export("ed25519"), g.sign(made, "ed25519", commitBody, "--sig-notation", "!a@example.com=b"))
	add("a note", g.export("ed25519"), g.sign(made, "ed25519", commitBody, "--sig-notation", "a@example.com=b"))
	add("two keys in an armor, the first", g.export("ed25519", "rsa2048"), good)
	add("two keys in an armor, the second", g.export("rsa2048", "ed25519"), good)
	add("two armors, the second", g.export("rsa2048")+g.export("ed25519"), good)
	add("two armors, the first", g.export("ed25519")+g.export("rsa2048"), good)
	add("two armors, the second is damaged", g.export("ed25519")+strings.Repeat("\n", 120)+strings.Replace(g.export("rsa2048"), "\n\n", "\n\n!!!!", 1), good)
	add("text before an armor", "This is a key.\n\n"+g.export("ed25519"), good)
	add("headers of an armor", strings.Replace(g.export("ed25519"), "\n\n", "\nVersion: 1\nComment: a: b\n\n", 1), good)
	add("lines that end with CR and LF", strings.ReplaceAll(g.export("ed25519"), "\n", "\r\n"), good)
	add("an armor without end", strings.Replace(g.export("ed25519"), "-----END PGP PUBLIC KEY BLOCK-----\n", "", 1), good)
	add("no key", "", good)
	add("a key that is none", "ssh-ed25519 AAAA a\n", good)
	add("a key in a wrong armor", strings.ReplaceAll(g.export("ed25519"), "PUBLIC KEY BLOCK", "MESSAGE"), good)
	add("a key that is cut off", g.export("ed25519")[:300]+"\n-----END PGP PUBLIC KEY BLOCK-----\n", good)
	add("a wrong signature", g.export("ed25519"), strings.Replace(good, "/", "+", 1))
	add("a signature that is cut off", g.export("ed25519"), good[:120]+"\n-----END PGP SIGNATURE-----\n")
	add("no signature in the armor", g.export("ed25519"), "-----BEGIN PGP SIGNATURE-----\n\nAAAA\n-----END PGP SIGNATURE-----\n")
	add("a secret key", g.run(late, "", "--armor", "--export-secret-keys", "ed25519@example.com"), good)

	for _, reason := range []struct{ number, name string }{{"0", "without a reason"}, {"1", "as it is compromised"}, {"2", "as it is superseded"}} {
		name := "revoked" + reason.number
		g.generate(early, name, "ed25519", "sign,cert", "0")
		signature := g.sign(made, name, commitBody)
		g.revoke(late, name, reason.number, 0)
		add("a key that was revoked later, "+reason.name, g.export(name), signature)

		name = "subrevoked" + reason.number
		g.generate(early, name, "ed25519", "cert", "0")
		g.run(early, "", "--quick-add-key", g.fingerprint(name), "rsa2048", "sign", "0")
		signature = g.sign(made, name, commitBody)
		add("a subkey, then revoked "+reason.name, g.export(name), signature)
		g.revoke(late, name, reason.number, 1)
		add("a subkey that was revoked later, "+reason.name, g.export(name), signature)
	}
	g.generate(early, "subrevoked", "ed25519", "cert", "0")
	g.run(early, "", "--quick-add-key", g.fingerprint("subrevoked"), "nistp384/ecdsa", "sign", "0")
	signature := g.sign(made, "subrevoked", commitBody)
	g.revoke("20250110", "subrevoked", "2", 1)
	add("a subkey that was revoked before", g.export("subrevoked"), signature)

	g.generate(early, "both", "rsa3072", "sign,cert", "0")
	g.run(early, "", "--quick-add-key", g.fingerprint("both"), "ed25519", "sign", "0")
	g.run(early, "", "--quick-add-key", g.fingerprint("both"), "cv25519", "encr", "0")
	add("the primary key beside subkeys", g.export("both"), g.sign(made, g.fingerprint("both")+"!", commitBody))
	add("a subkey beside another", g.export("both"), g.sign(made, g.subkey("both", 1)+"!", commitBody))

	g.generate(early, "expired", "ed25519", "sign,cert", "0")
	before, after := g.sign("20250110", "expired", commitBody), g.sign(late, "expired", commitBody)
	g.run("20250105", "", "--quick-set-expire", g.fingerprint("expired"), "2025-02-01")
	add("a key that has expired since", g.export("expired"), before)
	add("a key that had expired", g.export("expired"), after)
	g.run("20250201", "", "--quick-set-expire", g.fingerprint("expired"), "never")
	add("a key that was prolonged later", g.export("expired"), before)
	g.generate(early, "subexpired", "ed25519", "cert", "0")
	g.run(early, "", "--quick-add-key", g.fingerprint("subexpired"), "ed25519", "sign", "0")
	before, after = g.sign("20250110", "subexpired", commitBody), g.sign(late, "subexpired", commitBody)
	g.run("20250105", "", "--quick-set-expire", g.fingerprint("subexpired"), "2025-02-01", "*")
	add("a subkey that has expired since", g.export("subexpired"), before)
	add("a subkey that had expired", g.export("subexpired"), after)
	g.generate(late, "young", "ed25519", "sign,cert", "0")
	add("a key that is younger", g.export("young"), g.sign(made, "young", commitBody, "--ignore-time-conflict", "--ignore-valid-from"))

	g.generate(early, "users", "ed25519", "sign,cert", "0")
	signature = g.sign(made, "users", commitBody)
	g.run(made, "", "--quick-add-uid", g.fingerprint("users"), "second <second@example.com>")
	add("a key with two names", g.export("users"), signature)
	g.run("20250301", "", "--quick-revoke-uid", g.fingerprint("users"), "second <second@example.com>")
	add("a key with a name that is revoked", g.export("users"), signature)
	g.generate(early, "certified", "ed25519", "sign,cert", "0")
	for _, by := range []string{"rsa2048", "dsa2048", "brainpoolP256r1"} {
		g.run(made, "", "--local-user", by, "--quick-sign-key", g.fingerprint("certified"))
	}
	add("a key that others have signed", g.export("certified"), g.sign(made, "certified", commitBody))

	commit := signedCommit(commitBody, good)
	id := objectID("commit", commit)
	for _, name := range []string{"ed25519", "rsa2048", "nistp256"} {
		body := "object " + id + "\ntype commit\ntag v1\ntagger Ann <ann@example.com> 1738368000 +0000\n\na tag\n"
		tag := body + g.sign(made, name, body)
		cases = append(cases, pgpDecision("a tag with a key of "+name, "input.git.tag", g.export(name), commit, tag))
		changed := strings.Replace(tag, "a tag", "a tab", 1)
		cases = append(cases, pgpDecision("another tag with a key of "+name, "input.git.tag", g.export(name), commit, changed))
	}
	described := pgpCase("what is said of a signature", g.export("ed25519"), good)
	described.Policy = fmt.Sprintf("package docker\n\ndefault allow := false\n\nallow if {\n\tinput.git.commit.pgpSignature.version == 4\n\tinput.git.commit.pgpSignature.keyID == \"%s\"\n}\n\ndecision := {\"allow\": allow}\n", strings.ToLower(g.fingerprint("ed25519")[24:]))
	return append(cases, described)
}
