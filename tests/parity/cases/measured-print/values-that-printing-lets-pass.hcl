target "default" {
  network      = "foo"
  call         = "zzz"
  tags         = ["BAD TAG"]
  entitlements = ["foo"]
  extra-hosts  = { a = "b" }
  context      = "nowhere"
  dockerfile   = "nowhere"
}
