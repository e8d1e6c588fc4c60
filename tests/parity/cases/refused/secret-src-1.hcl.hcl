target "default" {
  secret = [{ src = "1.hcl" }]
}
