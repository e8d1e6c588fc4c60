package docker

# Functions that every policy may use. Their names and what they check are buildx's.

docker_github_builder(image, repo) if {
	image.hasProvenance
	some signature in image.signatures
	docker_github_builder_signature(signature, repo)
}

docker_github_builder_tag(image, repo, tag) if {
	docker_github_builder(image, repo)
	some signature in image.signatures
	signature.signer.sourceRepositoryRef == concat("", ["refs/tags/", tag])
}

docker_github_builder_signature(signature, repo) if {
	signature.kind == "docker-github-builder"
	signature.type == "bundle-v0.3"
	count(signature.timestamps) > 0
	signer := signature.signer
	signer.runnerEnvironment == "github-hosted"
	signer.issuer == "https://token.actions.githubusercontent.com"
	signer.certificateIssuer == "CN=sigstore-intermediate,O=sigstore.dev"
	signer.sourceRepositoryURI == concat("/", ["https://github.com", repo])
}

docker_github_builder_bundle(http, filename, repo) if {
	docker_github_builder_signature(artifact_attestation(http, filename), repo)
}

github_release_attestation(http) := github_attestation(http, repo) if {
	http.schema == "https"
	lower(http.host) == "github.com"
	parts := split(http.path, "/")
	parts[0] == ""
	parts[1] != ""
	parts[2] != ""
	parts[3] == "releases"
	parts[4] == "download"
	parts[5] != ""
	concat("/", array.slice(parts, 6, count(parts))) != ""
	repo := concat("/", [parts[1], parts[2]])
}
