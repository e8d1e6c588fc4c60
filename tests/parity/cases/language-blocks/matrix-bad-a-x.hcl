target "app" {
 matrix = {a="x"}
 name="x"
}
