target "app" {
 matrix = {a=[null]}
 name=a
}
