# What printing does not check.
target "default" {
  network      = "foo"
  call         = "zzz"
  tags         = ["BAD TAG"]
  entitlements = ["foo"]
  extra-hosts  = { a = "b" }
  context      = "does/not/exist"
  dockerfile   = "https://example.com/Dockerfile"
  contexts     = { l = "oci-layout://x:y", t = "cwd://../z", n = "nope" }
  output       = ["type=local,dest=does/not/exist/c,mode=zz", "type=registry", "type=unheard"]
  cache-to     = ["type=unheard,x=y"]
  ulimits      = ["core=1", "core=2"]
}
