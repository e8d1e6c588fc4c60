target "default" {
  entitlements = ["security.insecure", "network.host"]
}
