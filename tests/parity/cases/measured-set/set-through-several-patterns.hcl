target "app" {
  tags    = ["own"]
  network = "none"
  ulimits = ["core=1"]
  no-cache-filter = ["s"]
}
