target "app" {
 matrix = "x"
 name="x"
}
