# The reference pipeline: the images of the example site.
#
#   rbake                      web and celery
#   rbake production --push    all four services, pushed
#   rbake essential --push --gate check            pushed, and released only if the tests succeed
#   rbake essential --push --hold                  pushed; `rbake promote` releases it after the tests of another job
#   rbake rollback COMMIT                          all images back to an earlier release, together
#   rbake digest web                               what a deploy job gets
#   rbake test --load          the image that runs the tests
#   rbake base-image --push --pull --no-cache      the base image, once a week
#
# Paths are relative to the repository's root, where rbake is started.

variable "REGISTRY" {
  description = "Where the images go: a registry, and a path in it"
  default     = "localhost:5000/site"
}

variable "TAG" {
  description = "Number of the build"
  default     = "0"
  validation {
    condition     = can(regex("^[A-Za-z0-9_.-]{1,100}$", TAG))
    error_message = "TAG becomes a part of the tag build-TAG: use letters, digits, '_', '.' and '-', at most 100."
  }
}

variable "GITHUB_SHA" {
  description = "Commit that is built"
  default     = "dev"
  validation {
    condition     = GITHUB_SHA == "dev" || can(regex("^[0-9a-f]{40}$", GITHUB_SHA))
    error_message = "GITHUB_SHA is a full commit id of 40 hexadecimal digits, or 'dev' on a developer's machine."
  }
}

variable "BRANCH" {
  description = "Branch that is built; any name that git allows"
  default     = "main"
}

variable "BASE_IMAGE" {
  description = "What the application's images start from: a Python image, or the weekly base image"
  default     = "python:3.13-slim"
}

# A branch as a part of a tag: valid for every name, and different for different names.
function "slug" {
  params = [branch]
  result = "${substr(regex_replace(lower(branch), "[^a-z0-9_.-]+", "-"), 0, 40)}-${substr(sha256(branch), 0, 8)}"
}

function "image" {
  params = [name]
  result = "${REGISTRY}/${name}"
}

function "tags" {
  params = [name]
  result = [
    "${image(name)}:build-${TAG}",
    "${image(name)}:${GITHUB_SHA}",
    "${image(name)}:latest",
  ]
}

# The services share one cache, which rbake exports once for all that a run builds. Images that other runs build have a
# cache of their own, because an export replaces what is there.
function "cache_ref" {
  params = [name, branch]
  result = "${REGISTRY}/cache:${name}-${slug(branch)}"
}

function "cache_from" {
  params = [name]
  result = [
    "type=registry,ref=${cache_ref(name, BRANCH)}",
    "type=registry,ref=${cache_ref(name, "main")}",
    "type=gha,scope=site-${name}",
  ]
}

function "cache_to" {
  params = [name]
  result = [
    "type=registry,ref=${cache_ref(name, BRANCH)},mode=max",
    "type=gha,scope=site-${name},mode=max,ignore-error=true",
  ]
}

group "default" {
  targets = ["essential"]
}

group "essential" {
  description = "What every deployment runs"
  targets     = ["web", "celery"]
}

group "production" {
  description = "All services"
  targets     = ["web", "celery", "celerybeat", "flower"]
}

target "_site" {
  context    = "examples/site"
  dockerfile = "../../dockerfiles/Dockerfile"
  args = {
    BASE_IMAGE = BASE_IMAGE
  }
}

target "base-image" {
  description = "Python and all system packages; built once a week"
  context     = "examples/site"
  dockerfile  = "../../dockerfiles/Dockerfile.base"
  tags        = tags("base")
  cache-from  = cache_from("base")
  cache-to    = cache_to("base")
}

target "test" {
  description = "Runs the site's tests"
  inherits    = ["_site"]
  target      = "test"
  args = {
    SKIP_JS_BUILD = "1"
    SKIP_CHROMIUM = "1"
  }
  tags       = ["${image("test")}:latest"]
  cache-from = cache_from("test")
  cache-to   = cache_to("test")
}

target "check" {
  description = "Runs the tests that need no services; a gate"
  inherits    = ["_site"]
  target      = "check"
  args = {
    SKIP_JS_BUILD = "1"
    SKIP_CHROMIUM = "1"
  }
  cache-from = cache_from("test")
}

target "web" {
  description = "Serves the site"
  inherits    = ["_site"]
  target      = "web"
  args = {
    SKIP_JS_BUILD = "0"
    SKIP_CHROMIUM = "0"
  }
  tags       = tags("web")
  cache-from = cache_from("site")
  cache-to   = cache_to("site")
}

target "celery" {
  description = "Works on tasks"
  inherits    = ["_site"]
  target      = "celery"
  tags        = tags("celery")
  cache-from  = cache_from("site")
  cache-to    = cache_to("site")
}

target "celerybeat" {
  description = "Schedules tasks"
  inherits    = ["_site"]
  target      = "celerybeat"
  tags        = tags("celerybeat")
  cache-from  = cache_from("site")
  cache-to    = cache_to("site")
}

target "flower" {
  description = "Shows what the workers do"
  inherits    = ["_site"]
  target      = "flower"
  tags        = tags("flower")
  cache-from  = cache_from("site")
  cache-to    = cache_to("site")
}
