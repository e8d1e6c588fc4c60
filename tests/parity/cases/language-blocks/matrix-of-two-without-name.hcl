target "app" {
 matrix = { a = ["1","2"] }
}
