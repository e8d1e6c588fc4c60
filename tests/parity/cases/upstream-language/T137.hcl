target "default" {
  attest = [
    { type = "provenance", mode = "min" },
    "type=sbom,disabled=true,generator=mine,\"A=b,c\",D=e",
  ]
  cache-from = [{ type = "registry", ref = "x/y:c" }, "type=local,src=a/b"]
  cache-to   = [{ type = "local", dest = "a/b" }]
  output     = [{ type = "oci", dest = "../x.tar" }, "type=local,dest=../x"]
  secret     = [{ id = "one", src = "T137.hcl" }, { id = "two", env = "TWO" }]
}
target "ssh" { ssh = [{ id = "default" }, { id = "key", paths = ["a/b"] }] }
target "read" { args = { v = jsonencode([target.default.attest, target.default.cache-from, target.default.cache-to, target.default.output, target.default.secret, target.ssh.ssh]) } }
