target "app" {
 matrix = null
 name="x"
}
