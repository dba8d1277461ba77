from django.contrib.auth.decorators import login_required
from django.contrib.auth.views import LoginView, LogoutView
from django.urls import include, path
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.generic import TemplateView

# The page that Vite built. What it shows, and with which client, is the frontend's business.
page = login_required(ensure_csrf_cookie(TemplateView.as_view(template_name="index.html")))
pages = [path("", page), path("rooms/<slug:name>/", page)]

urlpatterns = [
    path("", page, name="chat"),
    path("", include(pages)),
    path("apollo/", include(pages)),
    path("urql/", include(pages)),
    path("login/", LoginView.as_view(template_name="chat/login.html"), name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
]
