target "app" {
 matrix = {a=1}
 name="x"
}
