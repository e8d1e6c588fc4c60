target "app" {
 name = "x"
}
