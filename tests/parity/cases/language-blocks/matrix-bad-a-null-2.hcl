target "app" {
 matrix = {a=[null]}
 name="x"
}
