module policy-vectors

go 1.26

require (
	github.com/docker/buildx v0.36.1
	github.com/moby/buildkit v0.32.2
	github.com/open-policy-agent/opa v1.14.1
)
