from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.db.models import QuerySet
from django.forms import ModelForm
from django.http import HttpRequest
from django.utils import timezone

from chat.models import ChatRoom, Message, Reaction, User

admin.site.site_header = "Team chat"
admin.site.index_title = "What you change here is on everybody's screen at once"


class ReactionInline(admin.TabularInline):
    model = Reaction
    extra = 0
    autocomplete_fields = ["user"]


@admin.register(Message)
class MessageAdmin(admin.ModelAdmin):
    list_display = ["text", "room", "author", "sent_at", "hidden"]
    list_editable = ["hidden"]
    list_filter = ["room", "author", "hidden"]
    list_display_links = ["text"]
    search_fields = ["text"]
    ordering = ["-sent_at", "-pk"]
    autocomplete_fields = ["room", "author"]
    inlines = [ReactionInline]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Message]:
        return Message.with_hidden.all()

    def save_model(self, request: HttpRequest, obj: Message, form: ModelForm, change: bool) -> None:
        if change and "text" in form.changed_data:
            obj.edited_at = timezone.now()
        super().save_model(request, obj, form, change)


@admin.register(ChatRoom)
class ChatRoomAdmin(admin.ModelAdmin):
    list_display = ["name", "topic"]
    list_editable = ["topic"]
    search_fields = ["name"]
    filter_horizontal = ["members"]


@admin.register(User)
class ChatUserAdmin(UserAdmin):
    list_display = ["username", "name", "status", "away", "is_staff"]
    list_editable = ["name", "status", "away"]
    fieldsets = [("Chat", {"fields": ["name", "status", "away"]}), *UserAdmin.fieldsets]
