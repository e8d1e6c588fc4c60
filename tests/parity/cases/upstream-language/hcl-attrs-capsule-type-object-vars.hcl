variable "n" { default = "name" }
target "one" {
  cache-from = [{ type = "registry", ref = "x/y:c" }, "type=local,src=a/b"]
  cache-to   = [target.one.cache-from[0]]
  output     = [{ type = "oci", dest = "../x.tar" }, "type=local,dest=../x"]
  args       = { type = target.one.output[0].type }
}
target "two" {
  cache-from = target.one.cache-from
  output     = ["type=oci,dest=../${n}.tar"]
  secret     = [{ id = target.one.output[0].type, env = "X_${target.one.cache-from[1].type}" }]
}
