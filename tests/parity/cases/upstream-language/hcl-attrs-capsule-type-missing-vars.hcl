target "default" {
  attest     = ["type=sbom,disabled=${A}"]
  cache-from = [{ type = "registry", ref = "x/y:${B}" }, "type=local,src=a/b:${C}"]
  cache-to   = [{ type = "local", dest = "a/${D}" }]
  output     = [{ type = "oci", dest = "../${E}.tar" }]
  secret     = [{ id = "one", src = "/a/${F}" }]
  ssh        = [{ id = "key", paths = ["a/${G}"] }]
}
