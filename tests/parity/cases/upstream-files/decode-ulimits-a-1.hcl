target "default" {
  ulimits = "a=1"
}
