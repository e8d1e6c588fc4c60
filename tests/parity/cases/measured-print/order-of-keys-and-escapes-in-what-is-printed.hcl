target "default" {
  description = ""
  no-cache    = false
  target      = ""
  args        = { b = "<x>&\u2028\u2029", a = "é\u0001\"\\" }
}
