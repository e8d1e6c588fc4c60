target "default" {
 name = "m-${v}"
 matrix = { v = ["1", "2"] }
}
