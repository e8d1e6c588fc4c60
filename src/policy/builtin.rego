package docker

# The policy that `BUILDX_DEFAULT_POLICY` switches on. It knows four repositories of Docker. A tag there that was signed when it was
# released must have a signature of its builder; everything else is allowed.

managed := {
	"docker.io/docker/dockerfile": {"source": "moby/buildkit", "refs": "refs/tags/dockerfile/"},
	"docker.io/docker/dockerfile-upstream": {"source": "moby/buildkit", "refs": "refs/tags/dockerfile/"},
	"docker.io/docker/buildkit-syft-scanner": {"source": "docker/buildkit-syft-scanner", "refs": "refs/tags/"},
	"docker.io/moby/buildkit": {"source": "moby/buildkit", "refs": "refs/tags/"},
}

repository := input.image.fullRepo

is_frontend if repository == "docker.io/docker/dockerfile"

is_frontend if repository == "docker.io/docker/dockerfile-upstream"

# Tags that move, and so have no version.
moves(tag) if {
	is_frontend
	tag in {"latest", "labs", "master"}
}

moves(tag) if {
	repository == "docker.io/docker/buildkit-syft-scanner"
	tag == "latest"
}

moves(tag) if {
	repository == "docker.io/moby/buildkit"
	regex.match(`^(latest(-ubuntu)?|rootless|(master|nightly)(-rootless|-ubuntu)?|buildx-stable-[0-9]+(-rootless|-gpu)?)$`, tag)
}

# The version in a tag of a frontend or scanner. A tag with the first number only is that of the newest version.
version(tag) := [to_number(parts[1]), to_number(parts[2])] if {
	some parts in regex.find_all_string_submatch_n(`^([0-9]+)\.([0-9]+)(?:\.[0-9]+)?(?:-labs)?$`, tag, 1)
}

version(tag) := [to_number(parts[1]), 999999] if {
	some parts in regex.find_all_string_submatch_n(`^([0-9]+)(?:-labs)?$`, tag, 1)
}

# The release in a tag of BuildKit, without the kind of image.
release(tag) := parts[1] if {
	some parts in regex.find_all_string_submatch_n(`^(v[0-9]+\.[0-9]+\.[0-9]+(?:-rc[0-9]+)?)(?:-rootless|-ubuntu)?$`, tag, 1)
}

is_signed(tag) if moves(tag)

is_signed(tag) if {
	is_frontend
	version(tag) >= [1, 21]
}

is_signed(tag) if {
	repository == "docker.io/docker/buildkit-syft-scanner"
	version(tag) >= [1, 10]
}

is_signed(tag) if {
	repository == "docker.io/moby/buildkit"
	some parts in regex.find_all_string_submatch_n(`^v([0-9]+)\.([0-9]+)\.`, release(tag), 1)
	[to_number(parts[1]), to_number(parts[2])] >= [0, 27]
}

# Whether the tag may name what was released as `released`.
names(tag, released) if tag == released

names(tag, released) if {
	regex.match(`^[0-9]+\.[0-9]+$`, tag)
	version(tag) == version(released)
}

names(tag, released) if {
	regex.match(`^[0-9]+$`, tag)
	version(tag)[0] == version(released)[0]
}

fits(tag, _) if moves(tag)

fits(tag, ref) if {
	is_frontend
	startswith(ref, managed[repository].refs)
	released := trim_prefix(ref, managed[repository].refs)
	endswith(tag, "-labs") == endswith(released, "-labs")
	names(trim_suffix(tag, "-labs"), trim_suffix(released, "-labs"))
}

fits(tag, ref) if {
	repository == "docker.io/docker/buildkit-syft-scanner"
	startswith(ref, "refs/tags/")
	names(tag, trim_prefix(ref, "refs/tags/"))
}

fits(tag, ref) if {
	repository == "docker.io/moby/buildkit"
	ref == sprintf("refs/tags/%s", [release(tag)])
}

is_verified(tag) if {
	some signature in input.image.signatures
	docker_github_builder_signature(signature, managed[repository].source)
	fits(tag, object.get(signature.signer, "sourceRepositoryRef", ""))
}

refused contains message if {
	tag := input.image.tag
	managed[repository]
	is_signed(tag)
	not is_verified(tag)
	message := sprintf("the default policy does not allow image %s: the tag %s needs a verified signature of docker-github-builder", [input.image.ref, tag])
}

decision := {"allow": count(refused) == 0, "deny_msg": refused}
