target "default" { annotations = ["index,manifest:com.example=a"] }
