target "default" {
  entitlements = "a"
}
