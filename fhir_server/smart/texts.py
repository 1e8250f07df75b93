"""Every sentence on the pages of the authorization server, in both languages."""

from fhir_server.errors import Text

PAGE = {
    "title": Text("{client} asks for access", "{client} demande un accès"),
    "asks": Text(
        "The app {client} asks to work with health data through {brand}.",
        "L’application {client} demande à utiliser des données de santé par {brand}.",
    ),
    "signed_in": Text("You are signed in as {name}.", "Vous êtes connecté en tant que {name}."),
    "unknown": Text(
        "This app has registered itself. Nobody at {brand} has checked who is behind it.",
        "Cette application s’est inscrite elle-même. Personne chez {brand} n’a vérifié qui la propose.",
    ),
    "returns": Text("Afterwards you return to {address}", "Vous serez ensuite renvoyé vers {address}"),
    "whose": Text("Whose record?", "Le dossier de qui ?"),
    "about": Text("Record", "Dossier"),
    "born": Text("date of birth: {date}", "date de naissance : {date}"),
    "find": Text(
        "National identity number (INS) or identifier of the patient", "Matricule INS ou identifiant du patient"
    ),
    "which_encounter": Text("Which visit or stay is it about?", "De quelle venue ou quel séjour s’agit-il ?"),
    "encounter_about": Text(
        "{client} works within one visit or stay.", "{client} travaille dans le cadre d’une venue ou d’un séjour."
    ),
    "no_encounter": Text("None of these", "Aucun de ceux-ci"),
    "rights": Text(
        "What may it do? Take away what you do not want.", "Que pourra-t-elle faire ? Décochez ce que vous refusez."
    ),
    "how_long": Text("For how long?", "Pendant combien de temps ?"),
    "until_revoked": Text(
        "Until you end it, or until it has not been used for {days} days.",
        "Jusqu’à ce que vous y mettiez fin, ou jusqu’à {days} jours sans utilisation.",
    ),
    "for_today": Text("For {hours} hours at most.", "Pendant {hours} heures au plus."),
    "for_minutes": Text("For {minutes} minutes.", "Pendant {minutes} minutes."),
    "if_offline": Text(
        "Without “Keep its access while you are away”: {minutes} minutes.",
        "Sans « Garder son accès en votre absence » : {minutes} minutes.",
    ),
    "allow": Text("Allow", "Autoriser"),
    "deny": Text("Refuse", "Refuser"),
    "policy": Text("How it uses data", "Ce qu’elle fait des données"),
    "terms": Text("Terms of use", "Conditions d’utilisation"),
    "error": Text("This request cannot be answered", "Cette demande ne peut pas aboutir"),
    "error_more": Text(
        "The app that sent you here has made a mistake, or somebody has changed its request. Go back and try again.",
        "L’application qui vous a envoyé ici s’est trompée, ou sa demande a été modifiée. Revenez en arrière et "
        "recommencez.",
    ),
    "reason": Text("Reason", "Motif"),
}
GONE = Text(
    "This request is no longer waiting: it was answered already, or more than a quarter of an hour ago.",
    "Cette demande n’attend plus de réponse : elle a déjà été traitée, ou date de plus d’un quart d’heure.",
)
FORGED = Text(
    "The answer did not come from the page that you were shown. Nothing was allowed.",
    "La réponse ne vient pas de la page qui vous a été montrée. Rien n’a été autorisé.",
)
NO_PATIENT = Text(
    "No patient of this identifier, or none whose record you may open.",
    "Aucun patient avec cet identifiant, ou aucun dont vous puissiez ouvrir le dossier.",
)
NO_ENCOUNTER = Text("Choose one of the visits shown, or none.", "Choisissez l’une des venues proposées, ou aucune.")
NOTHING_CHOSEN = Text(
    "Choose at least one thing that the app may do, or refuse.",
    "Choisissez au moins une chose que l’application pourra faire, ou refusez.",
)
